// One call of @vercel/sdk for each line of standard input, its outcome on standard output.
import { createInterface } from "node:readline";

import { Vercel } from "@vercel/sdk";

const [serverURL, bearerToken] = process.argv.slice(2);

for await (const line of createInterface({ input: process.stdin })) {
  const { group, method, request, token } = JSON.parse(line);
  const vercel = new Vercel({ serverURL, bearerToken: token ?? bearerToken });
  let outcome;
  try {
    const value = await vercel[group][method](request);
    outcome = { value: value ?? null };
  } catch (error) {
    outcome = {
      refused: error.constructor.name,
      status: error.statusCode ?? null,
      message: `${error.message}\n${error.pretty?.() ?? ""}`,
    };
  }
  console.log(JSON.stringify(outcome));
}
