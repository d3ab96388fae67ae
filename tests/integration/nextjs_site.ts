/**
 * A site with counted handlers. It calls them as Next.js does: a Response is piped to the
 * visitor, a thrown redirect is 307 and notFound 404, any other throw 500.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";

import { Redis } from "@upstash/redis";

import { counted, countedApi, counters, type WaitUntil } from "./rollback-counters.js";

type Route = (request: Request) => Promise<Response>;
type Page = (request: IncomingMessage, response: ServerResponse) => Promise<unknown>;

const held: Promise<unknown>[] = [];
const errors: string[] = [];
const onError = (error: unknown): void => void errors.push(String(error));

// As on a serverless platform; `outside` is where Next.js says that `after` is unknown.
const platform = { waitUntil: (work: Promise<unknown>): void => void held.push(work) };
const contexts = globalThis as unknown as Record<symbol, unknown>;
contexts[Symbol.for("@next/request-context")] = { get: () => platform };
const outside: WaitUntil = () => {
  throw new Error("`after` was called outside a request scope");
};

const retry = { retries: 0 };
const given = (url: string, token: string) => new Redis({ url, token, retry });
const url = process.env.UPSTASH_REDIS_REST_URL ?? "";
const token = process.env.UPSTASH_REDIS_REST_TOKEN ?? "";
const closed = process.env.CLOSED_URL ?? "";

// Patient where the test is not about time: the machine may be busy.
const lagMs = 40_000;
const own = counters({ lagMs, onError });
const pages = counters({ lagMs, onError, waitUntil: outside });
const freezes = counters({ lagMs: 6_000, onError });
const elsewhere = (deployment: string, redis: Redis) =>
  counters({ deployment, redis, lagMs, onError });
const other = elsewhere("dpl_other", given(url, token));
const lost = elsewhere("dpl_lost", given(closed, token));
const denied = elsewhere("dpl_denied", given(url, "wrong"));
const handed = counters({ deployment: "dpl_given", redis: given(url, token), onError });
const told = counters({
  onError: (error) => {
    onError(error);
    throw error;
  },
});

const boom = new Error("boom");
const thrown = (digest: string) => Object.assign(new Error(digest), { digest });
const fail = (error: Error) => (): never => {
  throw error;
};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a stream of two parts does between them. */
function streamed(between: () => unknown): Response {
  let part = 0;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (part === 1) await between();
      if (part === 2) return controller.close();
      part += 1;
      controller.enqueue(new TextEncoder().encode(`part ${part}\n`));
    },
  });
  return new Response(body, { headers: { "content-type": "text/plain" } });
}

function cookies(): Response {
  const response = Response.json({ ok: true }, { status: 201, statusText: "Made" });
  response.headers.append("set-cookie", "a=1; Path=/");
  response.headers.append("set-cookie", "b=2; Path=/");
  return response;
}

const cancelled = own.counted(() => streamed(() => undefined));

let release = (): void => {};
let left = 0;

const routes: Record<string, Route> = {
  "/api/ok": own.counted(() => Response.json({ ok: true })),
  "/api/health": own.counted(() => Response.json({ api: "healthy" })),
  "/api/echo": own.counted(async (request) => new Response(await request.text())),
  "/api/empty": own.counted(() => new Response(null, { status: 204 })),
  "/api/cookies": own.counted(cookies),
  "/api/fail": own.counted(() => Response.json({ ok: false }, { status: 500 })),
  "/api/bad": own.counted(() => Response.json({ ok: false }, { status: 400 })),
  "/api/throw": own.counted(fail(boom)),
  "/api/redirect": own.counted(fail(thrown("NEXT_REDIRECT;replace;/api/ok;307;"))),
  "/api/missing": own.counted(fail(thrown("NEXT_HTTP_ERROR_FALLBACK;404"))),
  "/api/digest": own.counted(fail(thrown("1234567890"))),
  "/api/quick": own.counted(() => streamed(() => undefined)),
  "/api/slow": own.counted(() => streamed(() => sleep(3100))),
  "/api/broken": own.counted(() => streamed(fail(boom))),
  "/api/open": own.counted(() => streamed(() => new Promise(() => {}))),
  "/api/waits": own.counted(async () => {
    await new Promise<void>((resolve) => (release = resolve));
    return Response.json({ ok: true });
  }),
  "/api/cancelled": async (request) => {
    await (await cancelled(request)).body?.cancel();
    return new Response("something else");
  },
  "/api/default": counted(() => Response.json({ ok: true })),
  "/api/freezes": freezes.counted(() => Response.json({ ok: true })),
  "/api/told": told.counted(() => Response.json({ ok: true })),
  "/given/ok": handed.counted(() => Response.json({ ok: true })),
  "/other/ok": other.counted(() => Response.json({ ok: true })),
  "/lost/ok": lost.counted(() => Response.json({ ok: true })),
  "/denied/ok": denied.counted(() => Response.json({ ok: true })),
};

const apis: Record<string, Page> = {
  "/pages/ok": own.countedApi((_, response) => void response.end("ok")),
  "/pages/default": countedApi((_, response) => void response.end("ok")),
  "/pages/outside": pages.countedApi((_, response) => void response.end("ok")),
  "/pages/fail": own.countedApi((_, response) => {
    response.statusCode = 503;
    response.end();
  }),
  "/pages/throw": own.countedApi(fail(boom)),
  "/pages/slow": own.countedApi(async (_, response) => {
    await sleep(3100);
    response.end("ok");
  }),
};

/** What the test asks of the site itself. */
const asked: Record<string, () => Promise<unknown>> = {
  "/control/settled": async () => {
    while (held.length) await Promise.all(held.splice(0));
    return errors.splice(0);
  },
  "/control/held": async () => held.length,
  "/control/left": async () => left,
  "/control/release": async () => release(),
  "/control/build": async () => (process.env.NEXT_PHASE = "phase-production-build"),
  "/control/run": async () => delete process.env.NEXT_PHASE,
};

async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const path = (incoming.url ?? "/").split("?")[0] ?? "/";
  const control = asked[path];
  const api = apis[path];
  const route = routes[path];
  if (control) outgoing.end(JSON.stringify((await control()) ?? null));
  else if (api) await api(incoming, outgoing);
  else if (route) await answer(await route(asRequest(incoming, outgoing)), incoming, outgoing);
  else outgoing.writeHead(404).end();
}

function asRequest(incoming: IncomingMessage, outgoing: ServerResponse): Request {
  const gone = new AbortController();
  outgoing.once("close", () => {
    if (outgoing.writableFinished) return;
    left += 1;
    gone.abort();
  });
  const bodiless = incoming.method === "GET" || incoming.method === "HEAD";
  return new Request(new URL(incoming.url ?? "/", "http://localhost"), {
    method: incoming.method ?? "GET",
    headers: incoming.headers as Record<string, string>,
    signal: gone.signal,
    ...(bodiless ? {} : { body: Readable.toWeb(incoming) as ReadableStream, duplex: "half" }),
  } as RequestInit);
}

async function answer(
  response: Response,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  outgoing.statusCode = response.status;
  outgoing.statusMessage = response.statusText;
  for (const [name, value] of response.headers) outgoing.appendHeader(name, value);
  if (outgoing.destroyed) return; // as Next.js: the body is neither read nor cancelled
  if (!response.body || incoming.method === "HEAD") return void outgoing.end();
  const gone = new AbortController();
  outgoing.once("close", () => outgoing.writableFinished || gone.abort());
  const sink = new WritableStream<Uint8Array>({
    write: (chunk) => void outgoing.write(chunk),
    close: () => void outgoing.end(),
  });
  await response.body.pipeTo(sink, { signal: gone.signal });
}

function refuse(error: unknown, outgoing: ServerResponse): void {
  if (outgoing.headersSent) return void outgoing.destroy();
  const digest = (error as { digest?: string }).digest ?? "";
  outgoing.statusCode = digest.startsWith("NEXT_") ? Number(digest.match(/\d+/)) : 500;
  outgoing.setHeader("x-same", String(error === boom));
  outgoing.end();
}

const server = createServer((incoming, outgoing) => {
  serve(incoming, outgoing).catch((error: unknown) => refuse(error, outgoing));
});
server.listen(0, "127.0.0.1", () => {
  console.log((server.address() as AddressInfo).port);
});
process.stdin.on("end", () => process.exit()).resume(); // whoever started it is gone
