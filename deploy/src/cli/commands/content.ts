import { readFileSync } from 'node:fs';
import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import {
  type ContentPolicy,
  ContentPolicySchema,
  type ContentPolicyVersion,
  ContentPolicyVersionSchema,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  ListContentPoliciesResponseSchema,
  TryContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { type Command, numberOf, type Session, textOf, UsageError } from '../command.ts';
import { table } from '../render.ts';
import { time } from './prompt-targets.ts';

const DEFAULT_ROUTE = 'POST /v1/chat/completions';

/** What may pass through the gateway: versions of the tenant's content policy. */
export const contentCommands: Record<string, Command> = {
  'policies list': {
    usage: 'policies list',
    summary: 'Versions of the content policy, newest first.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'policies list',
    async run(session) {
      const versions = await allVersions(session);
      session.print(
        ListContentPoliciesResponseSchema,
        create(ListContentPoliciesResponseSchema, { versions }),
        () =>
          table(
            ['POLICIES', 'IN FORCE', 'RULES', 'BY', 'TIME'],
            versions.map(({ version, active, policy, author, createTime }) => [
              ...[
                `${version}`,
                active ? 'yes' : '',
                `${policy?.rules.length ?? 0}`,
                author,
                time(createTime),
              ],
            ]),
          ),
      );
    },
  },
  'policies show': {
    usage: 'policies show',
    summary: 'The content policy in force as JSON, which `policies set` takes after a change.',
    arguments: [],
    options: { version: { type: 'string' } },
    meaning: { version: 'that version (the one in force)' },
    example: 'policies show > policy.json',
    async run(session) {
      const version = BigInt(Math.trunc(numberOf(session.values, 'version') ?? 0));
      const reply = await session.clients.content.getContentPolicy({ version });
      session.print(ContentPolicyVersionSchema, reply.version!, () =>
        toJsonString(ContentPolicySchema, reply.version!.policy!, { prettySpaces: 2 }),
      );
    },
  },
  'policies set': {
    usage: 'policies set FILE',
    summary: 'Makes the next version of the content policy from a JSON file, and puts it in force.',
    arguments: ['FILE'],
    options: {},
    meaning: {},
    example: 'policies set policy.json',
    async run(session) {
      const policy = policyOf(session.args[0]!);
      const reply = await session.clients.content.setContentPolicy({ policy });
      told(session, reply.version!);
    },
  },
  'policies activate': {
    usage: 'policies activate VERSION',
    summary: 'Puts a version of the content policy in force that was made before.',
    arguments: ['VERSION'],
    options: {},
    meaning: {},
    example: 'policies activate 3',
    async run(session) {
      const [text] = session.args as [string];
      if (!/^[1-9]\d{0,17}$/.test(text))
        throw new UsageError(`VERSION is a number from 1 on and not '${text}'`);
      const version = BigInt(text);
      const reply = await session.clients.content.activateContentPolicy({ version });
      told(session, reply.version!);
    },
  },
  'policies try': {
    usage: 'policies try TEXT...',
    summary: 'What the content policy, or one of a file, would do to texts; nothing is kept.',
    arguments: ['TEXT'],
    rest: true,
    options: {
      file: { type: 'string' },
      route: { type: 'string' },
      role: { type: 'string' },
      answers: { type: 'boolean' },
    },
    meaning: {
      file: 'a policy as JSON (the one in force)',
      route: `as if they came by it (${DEFAULT_ROUTE})`,
      role: 'as if a caller of this role had sent them (your own)',
      answers: 'as texts of answers',
    },
    example: "policies try '我的电话是 13912345678' --file policy.json",
    async run(session) {
      const { values, args } = session;
      const file = textOf(values, 'file');
      const reply = await session.clients.content.tryContentPolicy({
        ...(file ? { policy: policyOf(file) } : {}),
        ...{ route: textOf(values, 'route') || DEFAULT_ROUTE, role: textOf(values, 'role') },
        ...{ answers: values.answers === true, texts: args },
      });
      session.print(TryContentPolicyResponseSchema, reply, () =>
        table(
          ['TEXTS', 'OUTCOME', 'FOUND'],
          reply.outcomes.map(({ text, blocked, flagged, findings }, i) => [
            blocked || flagged ? args[i]! : text,
            blocked ? 'refused' : flagged ? 'a person decides' : text === args[i] ? 'passes' : 'changed',
            findings.map(({ type }) => type).join(', '),
          ]),
        ),
      );
    },
  },
};

async function allVersions({ clients }: Session): Promise<ContentPolicyVersion[]> {
  const all: ContentPolicyVersion[] = [];
  let beforeVersion = 0n;
  do {
    const { versions } = await clients.content.listContentPolicies({ pageSize: 500, beforeVersion });
    all.push(...versions);
    beforeVersion = versions.length === 500 ? versions.at(-1)!.version : 0n;
  } while (beforeVersion > 0n);
  return all;
}

function told(session: Session, version: ContentPolicyVersion): void {
  session.print(ContentPolicyVersionSchema, version, () => `version ${version.version} is in force`);
}

/** @throws UsageError for a file that can not be read or says something else */
export function policyOf(file: string): ContentPolicy {
  try {
    return fromJsonString(ContentPolicySchema, readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`${file} is no policy: ${error instanceof Error ? error.message : String(error)}`);
  }
}
