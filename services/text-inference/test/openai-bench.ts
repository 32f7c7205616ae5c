/** A replica that answers through a server of OpenAI's API, for each test of a file. */

import { randomBytes } from 'node:crypto';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, afterEach, beforeEach } from 'vitest';
import type { OpenAiConfig } from '../src/backends/backend-config.ts';
import { TestFolder, TestReplica, testConfig } from './harness.ts';
import { OpenAiTestServer } from './openai-server.ts';

export type Request = Parameters<TestReplica['client']['generate']>[0];

/** What a test has before it. */
export class OpenAiBench {
  readonly key = `sk-${randomBytes(12).toString('hex')}`;
  readonly #folder = new TestFolder();
  server!: OpenAiTestServer;
  replica!: TestReplica;

  constructor() {
    beforeEach(async () => {
      this.server = await OpenAiTestServer.start();
      this.replica = await this.start();
    });
    afterEach(async () => {
      await this.replica[Symbol.asyncDispose]();
      await this.server[Symbol.asyncDispose]();
    });
    afterAll(() => this.#folder[Symbol.dispose]());
  }

  /** Another replica of the same server. */
  start(more: Partial<OpenAiConfig> = {}): Promise<TestReplica> {
    const backend: OpenAiConfig = {
      kind: 'openai',
      url: this.server.url,
      key: this.key,
      model: 'upstream',
      remote: false,
      remoteImages: false,
      extensions: true,
      silenceMs: 5000,
      answerMs: 30_000,
      maxAnswerBytes: 1024 * 1024,
      ...more,
    };
    return TestReplica.start(testConfig(this.#folder.join('home'), { backend }));
  }

  /** Every message of an answer. */
  ask(request: Request = {}): Promise<GenerateResponse[]> {
    return Array.fromAsync(
      this.replica.client.generate({ messages: [{ role: 'user', content: '你好?' }], ...request }),
    );
  }

  /** What a request fails with; undefined where it does not. */
  failure(request: Request = {}) {
    return this.ask(request).then(
      () => undefined,
      (error) => error,
    );
  }
}

export const textOf = (replies: GenerateResponse[]) => replies.map((reply) => reply.delta).join('');
