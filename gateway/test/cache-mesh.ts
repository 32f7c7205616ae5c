/** What tests of the cache of answers share: callers of tenants of their own, and a replica that does as it is told. */

import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { GatewayMesh, type GatewayMeshOptions, MODEL } from './harness.ts';

/** How the replica behind the gateway answers, and what it was asked. */
export class Replica {
  asked: GenerateRequest[] = [];
  /** Signals of calls, in their order. */
  signals: AbortSignal[] = [];
  /** What it says; a number of its own in each answer where it is undefined. */
  says: string | ((request: GenerateRequest) => string) | undefined;
  /** What answers before anything else is said. */
  before: (signal: AbortSignal) => Promise<void> = async () => {};
  model = MODEL;
  finish = FinishReason.STOP;

  readonly generate = async function* (this: Replica, request: GenerateRequest, { signal }: CallContext) {
    this.asked.push(request);
    this.signals.push(signal);
    const said = typeof this.says === 'function' ? this.says(request) : this.says;
    const text = said ?? `answer ${this.asked.length}: 多喝水 and rest`;
    await this.before(signal);
    const n = request.sampling?.n ?? 1;
    for (let index = 0; index < n; index++) {
      for (let at = 0; at < text.length; at += 3)
        yield { index, delta: text.slice(at, at + 3), model: at + index === 0 ? this.model : '' };
      const usage = { inputTokens: 7, outputTokens: text.length, cachedTokens: 2, durationMs: 5 };
      yield { index, finishReason: this.finish, ...(index === n - 1 ? { usage } : {}) };
    }
  }.bind(this);
}

export interface Body {
  [name: string]: unknown;
}

/** One caller of a gateway. */
export class CacheCaller {
  readonly url: string;
  readonly key: string;

  constructor(url: string, key: string) {
    this.url = url;
    this.key = key;
  }

  at(url: string): CacheCaller {
    return new CacheCaller(url, this.key);
  }

  post(path: string, body: Body, headers: Record<string, string> = {}, signal?: AbortSignal) {
    return fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.key}`, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      ...(signal ? { signal } : {}),
    });
  }

  /** A method of the gateway's own, and its reply as it is expected. @throws Error where it fails */
  async call<R = Body>(method: string, body: Body): Promise<R> {
    const response = await this.post(`/landfall.gateway.v1.${method}`, body);
    const reply = (await response.json()) as R;
    if (!response.ok) throw new Error(`${method}: ${JSON.stringify(reply)}`);
    return reply;
  }

  policy = (policy: Body) => this.call('CacheService/SetCachePolicy', { policy });

  /** A chat with one question at temperature 0; how the cache took it, the body, and the headers. */
  async ask(question: string, more: Body = {}, headers: Record<string, string> = {}, signal?: AbortSignal) {
    const messages = [{ role: 'user', content: question }];
    const body = { model: 'qa', messages, temperature: 0, ...more };
    const response = await this.post('/v1/chat/completions', body, headers, signal);
    const text = await response.text();
    const { headers: got, status } = response;
    return { cache: got.get('x-landfall-cache'), text, headers: got, status };
  }
}

export class CacheMesh implements AsyncDisposable {
  readonly mesh: GatewayMesh;
  readonly replica: Replica;
  #tenants = 0;

  private constructor(mesh: GatewayMesh, replica: Replica) {
    this.mesh = mesh;
    this.replica = replica;
  }

  static async start(options: Partial<GatewayMeshOptions> = {}): Promise<CacheMesh | undefined> {
    const replica = new Replica();
    const mesh = await GatewayMesh.start({ generate: replica.generate, ...options });
    return mesh && new CacheMesh(mesh, replica);
  }

  /** Name of the tenant that was made last. */
  get newest(): string {
    return `t${this.#tenants}`;
  }

  /** The administrator of a new tenant that keeps answers, and a replica that has been asked nothing. */
  async tenant(policy: Body = { enabled: true }): Promise<CacheCaller> {
    const { mesh, replica } = this;
    Object.assign(replica, { ...new Replica(), generate: replica.generate });
    this.#tenants += 1;
    const first = new CacheCaller(mesh.url, mesh.apiKey);
    const { secret } = await first.call<{ secret: string }>('IdentityService/CreateTenant', {
      name: this.newest,
    });
    const admin = new CacheCaller(mesh.url, secret);
    await admin.policy(policy);
    return admin;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}

/** Waits until a question is answered as it shall be, since gateways hear of one another a moment later. */
export async function soon<T>(ask: () => Promise<T>, is: (answer: T) => boolean): Promise<T> {
  const until = Date.now() + 20_000;
  for (;;) {
    const answer = await ask();
    if (is(answer) || Date.now() > until) return answer;
    await delay(100);
  }
}
