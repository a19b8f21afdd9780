// As much of a document as rlm_mcp/viewer/page.js uses, so that a test can run it.
class Node_ {
  constructor(tag) { this.tag = tag; this.children = []; this.attributes = {}; this.own = ""; }
  append(...items) { for (const item of items) this.children.push(item); }
  set textContent(text) { this.own = String(text); this.children = []; }
  get textContent() {
    return this.own + this.children.map((c) => (c instanceof Node_ ? c.textContent : String(c))).join("\n");
  }
  setAttribute(name, value) { this.attributes[name] = value; }
  count(tag) {
    return (this.tag === tag ? 1 : 0)
      + this.children.reduce((sum, c) => sum + (c instanceof Node_ ? c.count(tag) : 0), 0);
  }
}
const document = {
  body: new Node_("body"),
  createElement: (tag) => new Node_(tag),
  createElementNS: (_, tag) => new Node_(tag),
  getElementById: () => ({ textContent: DATA }),
};
function report() {
  const { body } = document;
  console.log(JSON.stringify({ text: body.textContent, rect: body.count("rect") }));
}
