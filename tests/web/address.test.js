import assert from "node:assert/strict";
import test from "node:test";
import { parseHostPort } from "../../web/app/core/format.js";

test("an address is a host, and a port where one is told", () => {
  assert.deepEqual(parseHostPort(" bo.local "), { host: "bo.local" });
  assert.deepEqual(parseHostPort("192.168.1.20:7000"), { host: "192.168.1.20", port: 7000 });
});

test("an address of IPv6 has a port only behind its brackets", () => {
  assert.deepEqual(parseHostPort("fd00::7"), { host: "fd00::7" });
  assert.deepEqual(parseHostPort("[fd00::7]"), { host: "fd00::7" });
  assert.deepEqual(parseHostPort("[fd00::7]:7000"), { host: "fd00::7", port: 7000 });
});

test("what is no address is sent as it is, for the service to say so", () => {
  for (const odd of ["", "bo:x", "a b:c"]) assert.deepEqual(parseHostPort(odd), { host: odd });
});
