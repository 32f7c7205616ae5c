import { status } from '@grpc/grpc-js';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerOf, picture, seeing } from './seeing.ts';
import { editor, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
const eye = seeing(() => ({
  text: answerOf(['scratch', 'moderate', [10, 20, 30, 40]]),
  report: 0.95,
  type: 0.9,
}));

beforeAll(async () => {
  at = await stage({ eye });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

/** Somebody for whom grants alone count on the deployment. */
const someone = (level: Role): Identity => ({
  ...{ subject: 'key:someone', tenant: editor.tenant, role: Role.EDITOR },
  rights: [{ resource: 'deployments/eye', level, restricted: true }],
});

test('a profile leads nobody to a deployment that is closed to them', async (t) => {
  if (!at) return t.skip();
  const { profile } = await at.profiles.getProfile({ name: 'surface' });
  await at.profiles.putProfile({ name: 'led', spec: { ...profile!.spec!, deployment: 'eye' } });
  const inspect = async (identity: Identity, more: object = {}) => {
    const image = { content: await picture(200, 100, 40) };
    return at!.vision.inspect({ profile: 'led', image, ...more }, { identity });
  };
  const unknown = { code: status.NOT_FOUND, message: expect.stringContaining('deployments/eye') };
  // Whether the request names it or the profile does.
  await expect(inspect(someone(Role.UNSPECIFIED))).rejects.toMatchObject(unknown);
  await expect(inspect(someone(Role.UNSPECIFIED), { deployment: 'eye' })).rejects.toMatchObject(unknown);
  await expect(inspect(someone(Role.VIEWER))).rejects.toMatchObject({ code: status.PERMISSION_DENIED });
  expect(eye.asked).toEqual([]);
  expect((await inspect(someone(Role.INVOKER))).report!.deployment).toBe('eye');
  // Nothing is restricted for those of whom nothing is said.
  expect((await inspect(editor)).report!.deployment).toBe('eye');
});
