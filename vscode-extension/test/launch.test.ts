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

const EVERYWHERE = ["/home/dev/two/.venv/bin/rlm-mcp", "/opt/bin/rlm-mcp", "/usr/bin/uvx"];

test("the setting wins over everything that is installed", () => {
  const launch = find(around(EVERYWHERE, { configured: ["/my/python", "-m", "rlm_mcp"] }));
  assert.deepEqual(launch, {
    command: "/my/python",
    args: ["-m", "rlm_mcp", "serve"],
    from: "setting",
  });
});

test("the workspace's .venv wins over the PATH, which wins over uvx", () => {
  assert.equal(find(around(EVERYWHERE))?.command, "/home/dev/two/.venv/bin/rlm-mcp");
  assert.equal(find(around(EVERYWHERE.slice(1)))?.command, "/opt/bin/rlm-mcp");
  assert.deepEqual(find(around(EVERYWHERE.slice(2))), {
    command: "/usr/bin/uvx",
    args: ["rlm-mcp@0.1.0", "serve"],
    from: "uvx",
  });
});

test("without any of them there is no launch", () => {
  assert.equal(find(around([])), undefined);
});

test("a relative folder of the PATH is never searched", () => {
  assert.equal(find(around(["relative/rlm-mcp"])), undefined);
});

test("on Windows the program is an .exe below Scripts", () => {
  const file = "C:\\w\\.venv\\Scripts\\rlm-mcp.exe";
  const launch = find(around([file], { platform: "win32", folders: ["C:\\w"], path: "" }));
  assert.equal(launch?.command, file);
});

test("choices that were not made set no variable", () => {
  const none = { env: {}, stateFolder: "", model: "", subModel: "", maxUsd: null, key: undefined };
  assert.deepEqual(environment(none), {});
  assert.deepEqual(environment({ ...none, env: { A: "1" }, maxUsd: 0, key: "k", model: "m" }), {
    A: "1",
    RLM_MCP_MAX_USD: "0",
    ANTHROPIC_API_KEY: "k",
    RLM_MCP_MODEL: "m",
  });
});
