import type { JsonObject } from '@bufbuild/protobuf';
import { PromptTask } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  GetPromptResponseSchema,
  ListPromptsResponseSchema,
  RenderPromptResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type Command, type Session, UsageError } from '../command.ts';
import { member, table } from '../render.ts';

/** `--set name=value`, values as JSON where they are JSON. */
export function variablesOf({ values }: Session): JsonObject {
  const variables: JsonObject = {};
  for (const one of (values.set ?? []) as string[]) {
    const at = one.indexOf('=');
    if (at < 1) throw new UsageError(`--set is name=value and not '${one}'`);
    const text = one.slice(at + 1);
    try {
      variables[one.slice(0, at)] = JSON.parse(text);
    } catch {
      variables[one.slice(0, at)] = text;
    }
  }
  return variables;
}

/** `name`, `name/1.2.0` or `name@label`. */
export function promptOf(text: string): { name: string; version: string } {
  const [, name, version = ''] = /^([^/@]+)\/?(@?.*)$/.exec(text) ?? [];
  return { name: name ?? text, version };
}

export const set = { set: { type: 'string', multiple: true } } as const;
export const setMeaning = { set: 'a variable as name=value; may be repeated' };

export const promptCommands: Record<string, Command> = {
  'prompts list': {
    usage: 'prompts list',
    summary: 'Prompts of the library.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'prompts list',
    async run(session) {
      const reply = await session.clients.prompt.listPrompts({ pageSize: 100 });
      session.print(ListPromptsResponseSchema, reply, () =>
        table(
          ['NAME', 'TASK', 'LATEST', 'LABELS', 'DESCRIPTION'],
          reply.prompts.map(({ name, task, latestVersion, labels, description }) => [
            name,
            member(PromptTask, task),
            latestVersion,
            Object.entries(labels)
              .map(([label, version]) => `${label}=${version}`)
              .join(' '),
            description,
          ]),
        ),
      );
    },
  },
  'prompts show': {
    usage: 'prompts show NAME',
    summary: 'A prompt with its template, by version (name/1.0.0) or label (name@production).',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'prompts show triage@production --json',
    async run(session) {
      const reply = await session.clients.prompt.getPrompt(promptOf(session.args[0]!));
      session.print(GetPromptResponseSchema, reply, () => `${reply.prompt!.name}/${reply.version!.version}`);
    },
  },
  'prompts render': {
    usage: 'prompts render NAME',
    summary: 'The messages that a prompt gives with variables.',
    arguments: ['NAME'],
    options: set,
    meaning: setMeaning,
    example: 'prompts render triage --set symptom=头痛',
    async run(session) {
      const variables = variablesOf(session);
      const reply = await session.clients.prompt.renderPrompt({ ...promptOf(session.args[0]!), variables });
      session.print(RenderPromptResponseSchema, reply, () =>
        reply.messages.map(({ role, content }) => `[${role}]\n${content}`).join('\n'),
      );
    },
  },
};
