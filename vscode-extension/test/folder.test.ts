import assert from "node:assert/strict";
import { test } from "node:test";
import { stateFolder } from "../src/folder";

const linux = { configured: "", env: {}, platform: "linux", home: "/home/a" } as const;

test("the setting wins over the variable, which wins over the platform's custom", () => {
  const env = { RLM_MCP_STATE_DIR: "/var", XDG_STATE_HOME: "/xdg" };
  assert.equal(stateFolder({ ...linux, configured: "/set", env }), "/set");
  assert.equal(stateFolder({ ...linux, env }), "/var");
  assert.equal(stateFolder({ ...linux, env: { XDG_STATE_HOME: "/xdg" } }), "/xdg/rlm-mcp");
});

test("each platform has its own place", () => {
  assert.equal(stateFolder(linux), "/home/a/.local/state/rlm-mcp");
  assert.equal(
    stateFolder({ ...linux, platform: "darwin" }),
    "/home/a/Library/Application Support/rlm-mcp",
  );
  assert.equal(
    stateFolder({ ...linux, platform: "win32", env: { LOCALAPPDATA: "C:\\L" } }),
    "C:\\L\\rlm-mcp",
  );
});
