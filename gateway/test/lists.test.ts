/** Lists show what their caller may know of, in whole pages; and there is no list of which nobody has said how. */

import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
  toBinary,
} from '@bufbuild/protobuf';
import { FieldOptionsSchema, MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { namesResources, resourcesIn, resourcesOf } from '@landfall/common/identity/resources.ts';
import { ruleOf } from '@landfall/common/identity/rule.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { expect, test } from 'vitest';
import { FILTERED, type ShownList, UNFILTERED } from '../src/access/lists.ts';
import { visible } from '../src/access/visible.ts';
import { routeName } from '../src/edge/route-name.ts';
import { publicMethods } from '../src/edge/services.ts';
import { withName } from './naming.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED || Math.floor(Math.random() * 2 ** 31));
console.log(`lists: LANDFALL_TEST_SEED=${seed}`);

/** mulberry32 */
function random(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const itemsOf = (method: DescMethod): DescMessage[] =>
  method.output.fields.flatMap((field) =>
    field.fieldKind === 'list' && field.listKind === 'message' ? [field.message] : [],
  );

/** Lists by their names, and whatever reads without effect and answers with messages that name resources. */
const isList = (method: DescMethod): boolean =>
  /^(List|Search)/.test(method.name) ||
  (method.idempotency === Idempotency.NO_SIDE_EFFECTS &&
    itemsOf(method).some((item) => namesResources(item)));

test('every list of every public service is filtered, or it is said why it need not be', () => {
  for (const method of publicMethods.values()) {
    const name = routeName(method);
    const isFiltered = FILTERED.has(method);
    const reason = UNFILTERED.get(method);
    if (isFiltered)
      for (const { field } of FILTERED.get(method)!)
        expect([name, fieldOf(method, field).fieldKind]).toEqual([name, 'list']);
    if (ruleOf(method).area === 'prompt' && !isFiltered) continue;
    if (!isList(method)) {
      expect([name, reason]).toEqual([name, undefined]);
      continue;
    }
    expect([name, isFiltered, reason !== undefined]).toEqual([name, isFiltered, !isFiltered]);
    if (reason === 'nothing') {
      for (const item of itemsOf(method)) expect([name, namesResources(item)]).toEqual([name, false]);
    }
    if (reason === 'named') {
      const asked = withName(method.input, (message) =>
        resourcesOf(method, message).map((one) => one.resource),
      );
      expect([name, asked !== undefined]).toEqual([name, true]);
    }
    if (reason === 'office') expect([name, ruleOf(method).needed]).toEqual([name, Role.ADMIN]);
  }
});

test('no request names a model where its rights are not looked at', () => {
  const paths = new Set<string>();
  for (const method of publicMethods.values()) {
    for (const [path, message] of referencesIn(method.input)) {
      const found = resourcesOf(method, message).map(({ resource }) => resource);
      expect([routeName(method), path, found]).toEqual([routeName(method), path, ['models/a']]);
      paths.add(path);
    }
  }
  // Which fields are meant is read from their rules: some that are known are among them.
  for (const known of ['first', 'spec.from_version', 'spec.evaluation.judge_model', 'base_model'])
    expect([...paths]).toContain(known);
});

const fieldOf = (method: DescMethod, name: string) =>
  method.output.fields.find(({ localName }) => localName === name)!;

/** Requests in which one field that the contract says holds a model's reference does, with the way to it. */
function referencesIn(shape: DescMessage, depth = 0): [path: string, message: Message][] {
  if (depth > 4) return [];
  return shape.fields.flatMap((field): [string, Message][] => {
    const isReference = ruleText(field).includes('models:/');
    if (field.fieldKind === 'scalar' && isReference && !field.oneof)
      return [[field.name, create(shape, { [field.localName]: 'models:/a/1.0.0' } as never)]];
    if (field.fieldKind !== 'message' || field.oneof) return [];
    return referencesIn(field.message, depth + 1).map(([path, inner]) => [
      `${field.name}.${path}`,
      create(shape, { [field.localName]: inner } as never),
    ]);
  });
}

/** What a field's rules say: its options as they are encoded, among them the pattern. */
const ruleText = ({ proto: { options } }: DescField): string =>
  options ? Buffer.from(toBinary(FieldOptionsSchema, options)).toString('latin1') : '';

const itemNaming = (method: DescMethod, { field, own, only }: ShownList, name: string): Message => {
  const { message: shape } = fieldOf(method, field) as unknown as { message: DescMessage };
  const made = withName(shape, (message) => resourcesIn(shape, message, own, only), name);
  if (!made) throw new Error(`${routeName(method)}: no field of ${shape.typeName} names a resource`);
  return made;
};

test.each([...FILTERED.keys()].map((method) => [routeName(method), method] as const))(
  '%s: whole pages of what may be seen, in order and once',
  async (_name, method) => {
    const next = random(seed);
    const [list] = FILTERED.get(method) as [ShownList];
    for (let round = 0; round < 15; round++) {
      const names = Array.from({ length: Math.floor(next() * 40) }, (_, i) => `m${i}`);
      const share = next();
      const hidden = new Set(names.filter(() => next() < share));
      const all = names.map((name) => itemNaming(method, list, name));
      const caller: Identity = {
        ...{ subject: 'key:1', tenant: 'acme', role: Role.EDITOR },
        rights: [...hidden, 'another'].map((name) => ({
          ...{ resource: `models/${name}`, level: Role.UNSPECIFIED, restricted: true },
        })),
      };
      const isPaged = method.output.fields.some(({ name }) => name === 'next_page_token');
      const standard = 7;
      let calls = 0;
      const read = async (request: Message) => {
        calls += 1;
        const { pageSize = 0, pageToken = '' } = request as Message & {
          pageSize?: number;
          pageToken?: string;
        };
        const from = Number(pageToken);
        const to = isPaged ? from + (pageSize || standard) : all.length;
        const nextPageToken = to < all.length ? `${to}` : '';
        return create(method.output, {
          [list.field]: all.slice(from, to),
          ...(isPaged ? { nextPageToken } : {}),
        } as never);
      };
      const pageSize = Math.floor(next() * 6);
      const seen: Message[] = [];
      let pageToken = '';
      do {
        const request = create(method.input, (isPaged ? { pageSize, pageToken } : {}) as never);
        const before = calls;
        const page = await visible(caller, method, await read(request), request, read);
        // However much lies hidden between.
        expect(calls - before).toBeLessThan(20);
        const fields = page as Message & { nextPageToken?: string };
        const items = fields[list.field as never] as Message[];
        pageToken = fields.nextPageToken ?? '';
        if (isPaged && pageToken !== '') expect(items.length).toBe(pageSize || standard);
        seen.push(...items);
      } while (pageToken !== '');
      expect(seen).toEqual(all.filter((_, i) => !hidden.has(names[i]!)));
    }
  },
);
