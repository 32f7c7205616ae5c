/** A deployment that is closed to a caller stays so behind a prompt: at the gateway, and in the services without it. */

import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PromptMesh } from './prompt-mesh.ts';

let mesh: PromptMesh | undefined;
const models: string[] = [];
beforeAll(async () => {
  mesh = await PromptMesh.start(async function* ({ model }) {
    models.push(model);
    yield { delta: 'fine', model, finishReason: FinishReason.STOP };
  });
}, 60_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());

test('invoking a prompt asks for the right on the deployment and on what it serves', async (t) => {
  if (!mesh) return t.skip();
  const admin = (...words: string[]) => mesh!.run('admin', ...words);
  await mesh.makePrompt('admin', 'talk', '');
  for (const who of ['doctor', 'stranger']) {
    const group = who === 'doctor' ? ['--group', 'doctors'] : [];
    mesh.keys.set(who, (await admin('keys', 'create', who, '--role', 'editor', ...group)).text);
  }
  const invoke = (who: string, deployment: string) =>
    mesh!.run(who, 'prompts', 'invoke', 'talk', '--deployment', deployment, '--set', 'q=x');
  const closed = { code: 1, text: expect.stringContaining('NotFound: there is no') };
  const open = { code: 0, text: expect.stringContaining('fine') };
  expect(await invoke('stranger', 'ward')).toMatchObject(open);
  await admin('rights', 'restrict', 'deployments/ward');
  await admin('rights', 'grant', 'deployments/ward', 'group:doctors', 'invoker');
  expect(await invoke('stranger', 'ward')).toMatchObject(closed);
  expect(await invoke('doctor', 'ward')).toMatchObject(open);
  // A restricted model closes what serves it: the replica finds it, which alone knows the model.
  await admin('rights', 'restrict', 'models/lab');
  const asked = models.length;
  expect(await invoke('stranger', 'lab')).toMatchObject(closed);
  expect(models.length).toBe(asked);
  await admin('rights', 'grant', 'models/lab', 'group:doctors', 'invoker');
  expect(await invoke('doctor', 'lab')).toMatchObject(open);
  expect(models.at(-1)).toBe('models:/lab/1.0.0');
}, 60_000);
