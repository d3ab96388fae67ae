/**
 * What users experienced, per second and deployment, for whoever judges the release.
 *
 *     export const GET = counted(async (request) => Response.json(await find(request)));
 *
 * Hash `requests:<deployment id>:<unix second>` in Redis: `requests`, `failed`, `slow`.
 * README.md says what is counted, what is not, and what it costs.
 */
import { Redis } from "@upstash/redis";

const SLOW_MS = 3000;
const FAILED = 500;
const KEPT_S = 3600;
const HEALTH = "/api/health";
const PROBE = "rollback-probe";
// The engine takes a second two seconds after it is over (`lag_seconds` of its reader).
const LAG_MS = 2000;
// In that time a count may wait for one write and take one, and clocks may disagree.
const TIMEOUT_PER_LAG = 0.4;
const LATEST_PER_LAG = 0.5;

type Sums = { requests: number; failed: number; slow: number };
type Written = { sums: Map<number, Sums>; done: Promise<void> };
export type WaitUntil = (work: Promise<unknown>) => void;
type Outcome = { failed: boolean };

/** The part of the Upstash client that is used. */
export type Store = Pick<Redis, "pipeline">;

export type Options = {
  /** Upstash's client; give it `retry: { retries: 0 }`. Default: made from the environment. */
  redis?: Store;
  /** Default: `VERCEL_DEPLOYMENT_ID`. Without one nothing is counted. */
  deployment?: string;
  /** `after` of next/server or `waitUntil` of @vercel/functions. Default: the platform's. */
  waitUntil?: WaitUntil;
  /** Told of each write that was lost or dropped; no request ever is. */
  onError?: (error: unknown) => void;
  /** How long after a second is over its counts are read. Default: 2000, as the engine. */
  lagMs?: number;
};

/** The parts of a Pages Router request and response that are used. */
export type ApiRequest = {
  url?: string | undefined;
  headers: Record<string, string | string[] | undefined>;
};
export type ApiResponse = {
  statusCode: number;
  once(event: "close", listener: () => void): unknown;
};

export type Counters = {
  /** Wraps a route handler of the App Router. */
  counted<R extends Request, Rest extends unknown[]>(
    handler: (request: R, ...rest: Rest) => Response | Promise<Response>,
  ): (request: R, ...rest: Rest) => Promise<Response>;
  /** Wraps an API route of the Pages Router. */
  countedApi<Q extends ApiRequest, S extends ApiResponse>(
    handler: (request: Q, response: S) => unknown,
  ): (request: Q, response: S) => Promise<unknown>;
};

export function counters(options: Options = {}): Counters {
  const report = (error: unknown): void => {
    try {
      options.onError?.(error);
    } catch {
      // Whoever is told of a lost count must not cost a request either.
    }
  };
  const write = writer(options, report);

  /** Begins a count; whoever is given the rest of it ends it, once. Null: not counted. */
  function begin(path: string, agent: string): ((outcome: Outcome) => void) | null {
    const probed = agent.startsWith(PROBE);
    if (!deployment(options) || (path === HEALTH && !probed)) return null;
    const begun = performance.now();
    let end!: (outcome: Outcome) => void;
    const ended = new Promise<Outcome>((resolve) => (end = resolve));
    const written = ended.then(({ failed }) => {
      const slow = performance.now() - begun > SLOW_MS;
      // A probe says "I am here, nobody came": whoever probes counts its probes itself.
      return write(probed ? [0, 0, 0] : [1, Number(failed), Number(slow)]);
    });
    hold(written, options.waitUntil, report);
    return end;
  }

  return {
    counted: (handler) =>
      async function counted(request, ...rest) {
        // A page that is built once is no request, and reading its headers would stop that.
        const end = isBuild() ? null : begin(pathOf(request.url), agentOf(request));
        if (!end) return handler(request, ...rest);
        try {
          const response = await handler(request, ...rest);
          return watched(request, response, end);
        } catch (error) {
          end({ failed: !isControlFlow(error) });
          throw error;
        }
      },
    countedApi: (handler) =>
      async function countedApi(request, response) {
        const agent = String(request.headers["user-agent"] ?? "");
        const end = begin(pathOf(request.url ?? "/"), agent);
        if (!end) return handler(request, response);
        response.once("close", () => end({ failed: response.statusCode >= FAILED }));
        try {
          return await handler(request, response);
        } catch (error) {
          end({ failed: true });
          throw error;
        }
      },
  };
}

/** Counters of this deployment, by the environment alone. */
export const { counted, countedApi } = counters();

/**
 * Sums up what waits for the write before it: idle, a count is written at once; busy, one
 * request to Redis carries many. What cannot be written in time is dropped: so it is for
 * an instance that was frozen in between, and finds its counts late.
 */
function writer(options: Options, report: (error: unknown) => void) {
  const lagMs = options.lagMs ?? LAG_MS;
  const timeoutMs = lagMs * TIMEOUT_PER_LAG;
  const latestMs = 1000 + lagMs * LATEST_PER_LAG; // since the second began
  let redis = options.redis;
  let waiting: Written | undefined;
  let last: Promise<void> = Promise.resolve();

  return function write([requests, failed, slow]: [number, number, number]): Promise<void> {
    waiting ??= next();
    const second = Math.floor(Date.now() / 1000);
    const sums = waiting.sums.get(second) ?? { requests: 0, failed: 0, slow: 0 };
    sums.requests += requests;
    sums.failed += failed;
    sums.slow += slow;
    waiting.sums.set(second, sums);
    return waiting.done;
  };

  function next(): Written {
    const sums = new Map<number, Sums>();
    last = last.then(async () => {
      waiting = undefined;
      try {
        await send(sums);
      } catch (error) {
        report(error);
      }
    });
    return { sums, done: last };
  }

  async function send(sums: Map<number, Sums>): Promise<void> {
    redis ??= fromEnvironment(timeoutMs);
    const pipeline = redis.pipeline();
    for (const [second, { requests, failed, slow }] of sums) {
      if (Date.now() > second * 1000 + latestMs) {
        report(new Error(`The counts of second ${second} were dropped: they are late.`));
        continue;
      }
      const key = `requests:${deployment(options)}:${second}`;
      pipeline.hincrby(key, "requests", requests);
      // Upstash bills by the command: what is zero is left out.
      if (failed) pipeline.hincrby(key, "failed", failed);
      if (slow) pipeline.hincrby(key, "slow", slow);
      pipeline.expire(key, KEPT_S);
    }
    if (pipeline.length()) await within(timeoutMs, pipeline.exec());
  }
}

/** A write that was repeated would count twice, so it is never tried again. */
function fromEnvironment(timeoutMs: number): Store {
  return Redis.fromEnv({
    retry: { retries: 0 }, // `false` still tries twice
    signal: () => AbortSignal.timeout(timeoutMs),
    readYourWrites: false,
  });
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Redis took more than ${ms} ms.`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Gives the response on, and ends the count with the last byte of its body. */
function watched(
  request: Request,
  response: Response,
  end: (outcome: Outcome) => void,
): Response {
  const failed = response.status >= FAILED;
  const { signal } = request;
  if (!response.body || response.bodyUsed || request.method === "HEAD" || signal.aborted) {
    end({ failed });
    return response;
  }
  // When the visitor leaves before the answer, nobody reads its body, nor cancels it.
  signal.addEventListener("abort", () => end({ failed }), { once: true });
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (!done) return controller.enqueue(value);
          end({ failed });
          controller.close();
        } catch (error) {
          end({ failed: true }); // it broke off
          controller.error(error);
        }
      },
      cancel(reason) {
        end({ failed });
        return reader.cancel(reason);
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, response);
}

/** Keeps a serverless instance awake until the work is done; elsewhere it is done anyway. */
function hold(
  work: Promise<unknown>,
  given: WaitUntil | undefined,
  report: (error: unknown) => void,
): void {
  for (const waitUntil of [given, platforms()]) {
    try {
      if (waitUntil) return waitUntil(work);
    } catch (error) {
      report(error); // `after` knows no API routes of the Pages Router
    }
  }
}

/** Where Next.js itself looks for it (its docs: `after`, "supporting serverless platforms"). */
function platforms(): WaitUntil | undefined {
  type Context = { get?(): { waitUntil?: WaitUntil } | undefined };
  const contexts = globalThis as unknown as Record<symbol, Context | undefined>;
  for (const name of ["@next/request-context", "@vercel/request-context"]) {
    const found = contexts[Symbol.for(name)]?.get?.();
    if (found?.waitUntil) return (work) => found.waitUntil?.(work);
  }
  return undefined;
}

/** `redirect()`, `notFound()` and their like are thrown, and are no failures. */
function isControlFlow(error: unknown): boolean {
  const digest = (error as { digest?: unknown } | null)?.digest;
  return (
    typeof digest === "string" &&
    /^(NEXT_(REDIRECT|NOT_FOUND|HTTP_ERROR_FALLBACK)|DYNAMIC_SERVER_USAGE)\b/.test(digest)
  );
}

function deployment(options: Options): string | undefined {
  return options.deployment ?? process.env.VERCEL_DEPLOYMENT_ID;
}

function isBuild(): boolean {
  return process.env.NEXT_PHASE === "phase-production-build";
}

function pathOf(url: string): string {
  return new URL(url, "http://localhost").pathname;
}

function agentOf(request: Request): string {
  return request.headers.get("user-agent") ?? "";
}
