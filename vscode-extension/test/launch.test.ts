import assert from "node:assert/strict";
import { test } from "node:test";
import { environment, find, type Surroundings } from "../src/launch";

function around(files: readonly string[], more: Partial<Surroundings> = {}): Surroundings {
  return {
    configured: [],
    folders: ["/home/dev/one", "/home/dev/two"],
    path: "/usr/bin:relative:/opt/bin",
    platform: "linux",
    version: "0.1.0",
    isFile: (file) => files.includes(file),
    ...more,
  };
}

const EVERYWHERE = ["/opt/bin/rlm-mcp", "/usr/bin/uvx"];

test("the setting wins over everything that is installed", () => {
  const launch = find(around(EVERYWHERE, { configured: ["/my/python", "-Im", "rlm_mcp.cli"] }));
  assert.deepEqual(launch, {
    command: "/my/python",
    args: ["-Im", "rlm_mcp.cli", "serve"],
    from: "setting",
  });
});

test("rlm-mcp on the PATH wins over uvx", () => {
  assert.equal(find(around(EVERYWHERE))?.command, "/opt/bin/rlm-mcp");
  assert.deepEqual(find(around(EVERYWHERE.slice(1))), {
    command: "/usr/bin/uvx",
    args: ["--from", "rlm-mcp@0.1.0", "python", "-Im", "rlm_mcp.cli", "serve"],
    from: "uvx",
  });
});

test("without any of them there is no launch", () => {
  assert.equal(find(around([])), undefined);
});

test("nothing of the workspace is started, whether the PATH leads there or not", () => {
  for (const bin of ["/home/dev/two", "/home/dev/two/.venv/bin", "/opt/../home/dev/two/bin"]) {
    const path = `/usr/bin:${bin}`;
    assert.equal(find(around([`${bin}/rlm-mcp`, `${bin}/uvx`], { path })), undefined);
  }
  const beside = { path: "/home/dev/two-tools:/home/dev" };
  assert.ok(find(around(["/home/dev/two-tools/rlm-mcp"], beside)));
  assert.ok(find(around(["/home/dev/rlm-mcp"], beside)));
});

test("a relative folder of the PATH is never searched", () => {
  assert.equal(find(around(["relative/rlm-mcp"])), undefined);
});

test("on Windows the program is an .exe, and case does not hide the workspace", () => {
  const file = "C:\\tools\\rlm-mcp.exe";
  const path = "c:\\W\\bin;C:\\tools";
  const files = ["c:\\W\\bin\\rlm-mcp.exe", file];
  const launch = find(around(files, { platform: "win32", folders: ["C:\\w"], path }));
  assert.equal(launch?.command, file);
});

test("choices that were not made set no variable, and Python is isolated", () => {
  const none = { env: {}, stateFolder: "", model: "", subModel: "", maxUsd: null, key: undefined };
  const alone = environment(none);
  assert.ok(Object.keys(alone).every((name) => name.startsWith("PYTHON")));
  assert.equal(alone["PYTHONPATH"], "");
  assert.equal(alone["PYTHONSAFEPATH"], "1");
  assert.deepEqual(environment({ ...none, env: { A: "1" }, maxUsd: 0, key: "k", model: "m" }), {
    ...alone,
    A: "1",
    RLM_MCP_MAX_USD: "0",
    ANTHROPIC_API_KEY: "k",
    RLM_MCP_MODEL: "m",
  });
});
