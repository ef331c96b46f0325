// Reads base64 payloads, one a line, and writes what sparkplug-payload makes of each, one JSON a line.
"use strict";
const payload = require("sparkplug-payload").get("spBv1.0");
const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const decoded = payload.decodePayload(Buffer.from(line, "base64"));
    process.stdout.write(JSON.stringify(decoded, plain) + "\n");
  });
