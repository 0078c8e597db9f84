// Stands in for the Node.js runtime of Lambda: `node invoke.js HANDLER` reads an event a line and writes the answer
// to each, or how the handler failed, as a line of JSON. One process is one execution environment.

const { createInterface } = require("node:readline");

async function main() {
  const { handler } = require(process.argv[2]);
  for await (const event of createInterface({ input: process.stdin })) {
    const answer = await handler(JSON.parse(event)).catch((error) => ({ failed: String(error.stack) }));
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  process.exit();
}

main();
