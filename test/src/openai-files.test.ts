/** Files by the official client of OpenAI, against a gateway and the registry that keeps them. */

import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:http2';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createLogger } from '@landfall/common/log/logger.ts';
import { readConfig } from '@landfall/gateway/config.ts';
import { GatewayService } from '@landfall/gateway/service.ts';
import OpenAI, { NotFoundError, toFile } from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RegistryHarness } from '../../services/registry/test/harness.ts';

const running = new AsyncDisposableStack();
let registry: RegistryHarness | undefined;
let url: string;
let client: OpenAI;

beforeAll(async () => {
  registry = await RegistryHarness.start();
  if (!registry) return;
  running.use(registry);
  const first = join(registry.folder, 'first.key');
  const nobody = '127.0.0.1:1';
  const config = readConfig({
    ...{ ...registry.env, LANDFALL_REGISTRY_URL: registry.address, LANDFALL_FIRST_KEY_FILE: first },
    ...{ LANDFALL_TRAINER_URL: nobody, LANDFALL_BALANCER_URL: nobody, LANDFALL_PROMPT_URL: nobody },
  });
  const logger = createLogger('test', 'silent');
  const gateway = running.use(await GatewayService.create(config, { logger }));
  url = `http://${(await gateway.start()).address}`;
  client = clientOf(readFileSync(first, 'utf8').trim());
}, 60_000);
afterAll(() => running.disposeAsync());

const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
const upload = async (content: string | Buffer, name = 'rows.jsonl') =>
  client.files.create({ file: await toFile(Buffer.from(content), name), purpose: 'fine-tune' });
const line = (i: number) =>
  `${JSON.stringify({
    messages: [
      { role: 'user', content: `第 ${i} 问` },
      { role: 'assistant', content: '答' },
    ],
  })}\n`;
/** More than one message of the registry holds, the same never twice. */
const manyRows = () => {
  const answer = () => randomBytes(5000).toString('hex');
  const rows = Array.from({ length: 150 }, (_, i) => line(i).replace('答', answer()));
  return Buffer.from(rows.join(''));
};
const missing = expect.objectContaining({ status: 404 });

async function admin(method: string, body: object): Promise<Record<string, string>> {
  const reply = await fetch(`${url}/landfall.gateway.v1.${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${client.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect([method, reply.status]).toEqual([method, 200]);
  return (await reply.json()) as Record<string, string>;
}

test('what is uploaded is read back byte for byte, over either version of HTTP', async (t) => {
  if (!registry) return t.skip();
  const content = manyRows();
  const file = await upload(content, '问答.jsonl');
  const reply = await client.files.content(file.id);
  expect(reply.headers.get('content-length')).toBe(`${content.length}`);
  expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
  const session = connect(url);
  const path = `/v1/files/${file.id}/content`;
  const stream = session.request({ ':path': path, authorization: `Bearer ${client.apiKey}` });
  expect((await buffer(stream)).equals(content)).toBe(true);
  session.close();
  await expect(client.files.content('file-000000000000000000000000')).rejects.toThrow(NotFoundError);
}, 60_000);

test('a deleted file is there for nothing any more, and deleting again says so', async (t) => {
  if (!registry) return t.skip();
  const file = await upload(line(1));
  expect(await client.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
  for (const gone of [
    () => client.files.retrieve(file.id),
    () => client.files.content(file.id),
    () => client.files.delete(file.id),
  ])
    await expect(gone()).rejects.toEqual(missing);
  expect((await client.files.list()).data.map(({ id }) => id)).not.toContain(file.id);
  await expect(client.files.delete('file-x')).rejects.toEqual(missing);
}, 60_000);

test('lists come in pages, the newest first or the oldest, without what the caller may not know of', async (t) => {
  if (!registry) return t.skip();
  const ids: string[] = [];
  for (let i = 0; i < 7; i++) ids.push((await upload(line(i))).id);
  const walk = async (by: OpenAI, query: { limit?: number; order?: 'asc' | 'desc' }) => {
    const seen: string[] = [];
    for await (const { id } of by.files.list(query)) if (ids.includes(id)) seen.push(id);
    return seen;
  };
  for (const limit of [1, 2, 3, 100]) {
    expect(await walk(client, { limit, order: 'asc' })).toEqual(ids);
    expect(await walk(client, { limit })).toEqual(ids.toReversed());
  }
  const page = await client.files.list({ limit: 2, order: 'asc', after: ids[1]! });
  expect([page.data.map(({ id }) => id), page.has_more]).toEqual([ids.slice(2, 4), true]);
  expect((await client.files.list({ purpose: 'assistants' })).data).toEqual([]);
  expect((await client.files.list({ after: 'file-000000000000000000000000' })).data).toEqual([]);

  const { secret } = await admin('AdminService/CreateKey', { name: 'viewer', role: 'ROLE_VIEWER' });
  const viewer = clientOf(secret!);
  const [closed] = ids as [string];
  await admin('AccessService/RestrictResource', { resource: `models/${closed}`, restricted: true });
  expect(await walk(viewer, { limit: 2, order: 'asc' })).toEqual(ids.slice(1));
  await expect(viewer.files.content(closed)).rejects.toEqual(missing);
  await expect(viewer.files.delete(ids[1]!)).rejects.toEqual(expect.objectContaining({ status: 403 }));
}, 120_000);

test('a file whose content is damaged is never shown as whole', async (t) => {
  if (!registry) return t.skip();
  const content = manyRows();
  const file = await upload(content);
  const blobs = readdirSync(registry.artifacts, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name));
  const blob = blobs.find((path) => readFileSync(path).equals(content))!;
  // One bit, far behind what is sent before anybody could know of it.
  const damaged = Buffer.from(content);
  damaged[content.length - 1000]! ^= 1;
  writeFileSync(blob, damaged);
  const read = async () => (await client.files.content(file.id)).arrayBuffer();
  await expect(read()).rejects.toThrow();
  // The gateway goes on.
  expect((await client.files.retrieve(file.id)).id).toBe(file.id);
}, 60_000);
