/** What counting costs a handler, side by side with the same handler alone; see cost.py. */
import { counters, type WaitUntil } from "./rollback-counters.js";

type Handler = (request: Request) => Promise<Response>;

const held: Promise<unknown>[] = [];
const waitUntil: WaitUntil = (work) => void held.push(work);
const bare: Handler = async () => Response.json({ ok: true });
const counted = counters({ waitUntil }).counted(bare);

const visit = () => new Request("http://localhost/api/ok", { headers: { "user-agent": "a" } });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const settled = async () => {
  while (held.length) await Promise.all(held.splice(0));
};

function quantile(values: number[], part: number): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN;
}

function each<T>(of: Record<string, number[]>, what: (all: number[]) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(of).map(([name, all]) => [name, what(all)]));
}

/** Microseconds from call to last byte, one request after the other. */
async function latencies(handler: Handler, times: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i += 1) {
    const begun = performance.now();
    await (await handler(visit())).text();
    took.push((performance.now() - begun) * 1000);
  }
  return took;
}

/** Microseconds of CPU a request, writes included: `visitors` at once, each every 5 ms. */
async function cpu(handler: Handler, times: number, visitors: number): Promise<number> {
  const before = process.cpuUsage();
  const visiting = async () => {
    for (let i = 0; i < times; i += 1) {
      await (await handler(visit())).text();
      await sleep(5);
    }
  };
  await Promise.all(Array.from({ length: visitors }, visiting));
  await settled();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / times / visitors;
}

/** Milliseconds from the answer until its count is in Redis, each write alone. */
async function delays(times: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < times; i += 1) {
    await (await counted(visit())).text();
    const begun = performance.now();
    await settled();
    took.push(performance.now() - begun);
  }
  return took;
}

async function main(): Promise<void> {
  const latency: Record<string, number[]> = { bare: [], counted: [] };
  for (const handler of [bare, counted]) await latencies(handler, 2000); // warm up
  for (let block = 0; block < 10; block += 1) {
    latency["bare"]?.push(...(await latencies(bare, 500)));
    latency["counted"]?.push(...(await latencies(counted, 500)));
    await settled();
  }
  const alone: Record<string, number[]> = { bare: [], counted: [] };
  const busy: Record<string, number[]> = { bare: [], counted: [] };
  for (let block = 0; block < 5; block += 1) {
    alone["bare"]?.push(await cpu(bare, 200, 1));
    alone["counted"]?.push(await cpu(counted, 200, 1));
    busy["bare"]?.push(await cpu(bare, 50, 50));
    busy["counted"]?.push(await cpu(counted, 50, 50));
  }
  const written = await delays(500);
  const figures = {
    latency_us: each(latency, (all) => ({
      median: quantile(all, 0.5),
      p95: quantile(all, 0.95),
      p99: quantile(all, 0.99),
    })),
    cpu_us_one_visitor: each(alone, (all) => quantile(all, 0.5)),
    cpu_us_fifty_visitors: each(busy, (all) => quantile(all, 0.5)),
    written_after_ms: { median: quantile(written, 0.5), p95: quantile(written, 0.95) },
  };
  console.log(JSON.stringify(figures));
}

await main();
