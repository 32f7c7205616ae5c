/** A gateway before a model that says what a test has it say, and the ways to it. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import { createClient, type Transport } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { PERSONAL_DATA_TYPES } from '@landfall/masking/mask.ts';
import type {
  ContentPolicySchema,
  FilterRuleSchema,
  PersonalDataAction,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { ContentService } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { type InvokeRequest, PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, beforeEach, expect } from 'vitest';
import { GatewayMesh, type GatewayMeshOptions } from './harness.ts';

/** What the test has said, and what services were told. */
export const stage = {
  mesh: undefined as GatewayMesh | undefined,
  /** All that services behind the gateway were told. */
  seen: [] as string[],
  /** What the model says; the last turn where undefined. */
  says: undefined as string | undefined,
  pieceLength: 3,
};

async function* generate(request: GenerateRequest) {
  const { messages, prompt } = request;
  stage.seen.push(...messages.map(({ role, content }) => `${role}: ${content}`), ...(prompt ? [prompt] : []));
  const text = stage.says ?? messages.at(-1)?.content ?? prompt;
  for (let at = 0; at < text.length; at += stage.pieceLength) {
    const delta = text.slice(at, at + stage.pieceLength);
    yield { delta, logprobs: [{ token: delta, bytes: Buffer.from(delta), logprob: -0.5, top: [] }] };
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
}

const prompts: GatewayMeshOptions['prompts'] = {
  renderPrompt: ({ variables }) => {
    stage.seen.push(JSON.stringify(variables));
    return { version: '1.0.0', messages: [{ role: 'system', content: stage.says ?? '' }] };
  },
  async *invoke({ variables }: InvokeRequest) {
    stage.seen.push(JSON.stringify(variables));
    yield { invocationId: 'i1', version: '1.0.0' };
    for (const character of 'void 13812') yield { delta: character };
    yield { reset: true };
    for (const character of stage.says ?? '') yield { delta: character };
    yield { invocation: { id: 'i1', output: stage.says ?? '' } };
  },
};

/** Starts the mesh before a file's tests, and ends it behind them. */
export function useContentMesh(more: Partial<GatewayMeshOptions> = {}): void {
  beforeAll(async () => {
    stage.mesh = await GatewayMesh.start({ generate, prompts, ...more });
  });
  afterAll(() => stage.mesh?.[Symbol.asyncDispose]());
  beforeEach(() => {
    stage.seen = [];
    stage.says = undefined;
    stage.pieceLength = 3;
  });
}

export const transports: Record<string, (key?: string) => Transport> = {
  'Connect, JSON, HTTP/1.1': (key) => createConnectTransport({ ...options(key), httpVersion: '1.1' }),
  'Connect, binary, HTTP/2': (key) =>
    createConnectTransport({ ...options(key), httpVersion: '2', useBinaryFormat: true }),
  gRPC: (key) => createGrpcTransport(options(key)),
  'gRPC-Web, HTTP/1.1': (key) => createGrpcWebTransport({ ...options(key), httpVersion: '1.1' }),
};

function options(key = stage.mesh!.apiKey) {
  return {
    baseUrl: stage.mesh!.url,
    interceptors: [
      (next: (request: never) => Promise<never>) => (request: { header: Headers }) => {
        request.header.set('authorization', `Bearer ${key}`);
        return next(request as never);
      },
    ] as never,
  };
}

export const content = (key?: string) =>
  createClient(ContentService, createConnectTransport({ ...options(key), httpVersion: '1.1' }));
export type Policy = MessageInitShape<typeof ContentPolicySchema>;
export type FilterInit = MessageInitShape<typeof FilterRuleSchema>;
export const setPolicy = (policy: Policy) => content().setContentPolicy({ policy });
export const everything = (action: PersonalDataAction, routes = ['*'], roles: string[] = []): Policy => ({
  rules: [
    {
      routes,
      roles,
      requests: [{ types: [...PERSONAL_DATA_TYPES], action }],
      answers: [{ types: [...PERSONAL_DATA_TYPES], action }],
    },
  ],
});

export function chat(
  messages: { role: string; content: unknown }[],
  more: object = {},
  key = stage.mesh!.apiKey,
): Promise<Response> {
  return fetch(`${stage.mesh!.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'qa', messages, ...more }),
  });
}

export async function said(response: Response): Promise<string> {
  const body = (await response.json()) as { choices: [{ message: { content: string } }] };
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body.choices[0].message.content;
}

export async function streamed(
  response: Response,
): Promise<{ text: string; tokens: string; events: string }> {
  const events = await response.text();
  const data = events.split('\n').filter((line) => line.startsWith('data: {'));
  const choices = data.flatMap((line) => JSON.parse(line.slice(6)).choices ?? []);
  return {
    events,
    text: choices.map(({ delta }) => delta?.content ?? '').join(''),
    tokens: choices
      .flatMap(({ logprobs }) => logprobs?.content ?? [])
      .map(({ token }) => token)
      .join(''),
  };
}

export const user = (text: unknown) => [{ role: 'user', content: text }];

/** What a way to the model gives: its text as far as it was shown, and the reason of its error. */
export interface Asked {
  text: string;
  reason: string;
  /** Of a review, in an error. */
  review: string;
}

const reviewIn = (message: string) => /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(message)?.[0] ?? '';

async function overRpc(call: () => AsyncIterable<{ delta: string; reset?: boolean }>): Promise<Asked> {
  let text = '';
  try {
    for await (const { delta, reset } of call()) text = (reset ? '' : text) + delta;
    return { text, reason: '', review: '' };
  } catch (cause) {
    const { message, metadata } = cause as { message: string; metadata?: unknown };
    expect(metadata, String(cause)).toBeDefined();
    return { text, reason: reasonOf(message), review: reviewIn(message) };
  }
}

/** The reason that an error's sentence stands for. */
function reasonOf(message: string): string {
  if (/waits for a reviewer/.test(message)) return 'review_pending';
  if (/a reviewer has refused/.test(message)) return 'review_rejected';
  if (/personal data/.test(message)) return 'personal_data';
  return /filters look for/.test(message) ? 'content_filter' : message;
}

async function overOpenAi(path: string, body: object, key?: string): Promise<Asked> {
  const response = await fetch(`${stage.mesh!.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key ?? stage.mesh!.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'qa', ...body }),
  });
  const written = await response.text();
  const lines = written.startsWith('data:')
    ? written.split('\n').filter((line) => line.startsWith('data: {'))
    : [`data: ${written}`];
  let [text, reason, review] = ['', '', ''];
  for (const line of lines) {
    const { choices = [], error } = JSON.parse(line.slice(6)) as {
      choices?: { delta?: { content?: string }; message?: { content: string }; text?: string }[];
      error?: { code: string; message: string };
    };
    for (const choice of choices)
      text += choice.delta?.content ?? choice.message?.content ?? choice.text ?? '';
    if (error) [reason, review] = [error.code, reviewIn(error.message)];
  }
  return { text, reason, review };
}

const generateOver = (name: string) => (text: string, key?: string) =>
  overRpc(() =>
    createClient(TextInferenceService, transports[name]!(key)).generate({
      model: 'qa',
      messages: [{ role: 'user', content: text }],
    }),
  );
const invokeOver = (name: string) => (text: string, key?: string) =>
  overRpc(() =>
    createClient(PromptService, transports[name]!(key)).invoke({
      ...{ name: 'p', version: '1.0.0', deployment: 'qa' },
      variables: { question: text },
    }),
  );

/** Every way that a person's words reach a model, and its words a person. */
export const WAYS: Record<string, (text: string, key?: string) => Promise<Asked>> = {
  ...Object.fromEntries(Object.keys(transports).map((name) => [`Generate over ${name}`, generateOver(name)])),
  ...Object.fromEntries(Object.keys(transports).map((name) => [`Invoke over ${name}`, invokeOver(name)])),
  'OpenAI chat': (text, key) => overOpenAi('/v1/chat/completions', { messages: user(text) }, key),
  'OpenAI chat, system role': (text, key) =>
    overOpenAi('/v1/chat/completions', { messages: [{ role: 'system', content: text }, ...user('好')] }, key),
  'OpenAI chat, streamed': (text, key) =>
    overOpenAi('/v1/chat/completions', { messages: user(text), stream: true }, key),
  'OpenAI completion': (text, key) => overOpenAi('/v1/completions', { prompt: text }, key),
  'OpenAI completion, streamed': (text, key) =>
    overOpenAi('/v1/completions', { prompt: text, stream: true }, key),
};
