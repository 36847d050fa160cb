// Asks WorkMail, through AWS's SDK as it is: standard input is a list of [method, input], standard output the answers.
// Run it in the directory where the SDK is installed; endpoint and credentials are in the environment.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { WorkMail } = createRequire(`${process.cwd()}/`)("@aws-sdk/client-workmail");
const client = new WorkMail({});
const answers = [];
for (const [method, input] of JSON.parse(readFileSync(0, "utf8"))) {
  try {
    const { $metadata, ...answer } = await client[method](input);
    answers.push(answer);
  } catch (error) {
    answers.push({ error: error.name, status: error.$metadata?.httpStatusCode });
  }
}
console.log(JSON.stringify(answers));
