// Runs @copilotkit/aimock on a free port, says where, and ends when its standard input does.
// usage: node aimock.mjs PATH_OF_THE_PACKAGE KEY

const [, , home, key] = process.argv;
const { LLMock } = await import(`file://${home}/dist/index.js`);

const mock = new LLMock({
  port: 0,
  host: "127.0.0.1",
  chunkSize: 8,
  logLevel: "silent",
  auth: { apiKeys: [key] },
});
const limited = { message: "Rate limit reached for requests", type: "rate_limit_error", code: "rate_limit_exceeded" };
const unpaid = { message: "You exceeded your current quota.", type: "insufficient_quota", code: "insufficient_quota" };
mock.addFixture({ match: { userMessage: "LIMIT" }, response: { error: limited, status: 429, retryAfter: 7 } });
mock.addFixture({ match: { userMessage: "QUOTA" }, response: { error: unpaid, status: 429 } });
mock.addFixture({ match: { inputText: "vector" }, response: { embedding: [0.5, -0.25, 0.125] } });
for (const model of ["gpt-5-mini", "claude-sonnet-4-6", "gemini-3-flash"]) {
  mock.addFixture({ match: { model }, response: { content: `This is ${model} speaking, in a few pieces.` } });
}
// It has no list of models in Gemini's shape: this one is by ai.google.dev/api/models.
const methods = ["generateContent", "countTokens"];
const models = [{ name: "models/gemini-3-flash", inputTokenLimit: 1048576, supportedGenerationMethods: methods }];
mock.mount("/v1beta/models", {
  async handleRequest(request, response, pathname) {
    if (request.method !== "GET" || !["", "/", "/v1beta/models"].includes(pathname)) return false;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ models }));
    return true;
  },
});
await mock.start();
console.log(mock.url);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
