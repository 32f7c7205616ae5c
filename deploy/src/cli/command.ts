import type { ParseArgsConfig } from 'node:util';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { CliClients } from './clients.ts';

export type Options = NonNullable<ParseArgsConfig['options']>;
/** Options as given: strings, lists of them, or switches. */
export type Values = Record<string, string | boolean | (string | boolean)[] | undefined>;

/** What a command works with. */
export interface Session {
  /** @throws UsageError where there is no key for the mesh */
  readonly clients: CliClients;
  /** The mesh's state folder, for what is read without it running. */
  home: string;
  args: string[];
  values: Values;
  /** Prints a message as JSON where --json asks for it, else through `text`. */
  print<D extends DescMessage>(schema: D, message: MessageShape<D>, text: () => string): void;
  /** Text for a person, on standard output. */
  line(text: string): void;
  json: boolean;
  signal: AbortSignal;
}

export interface Command {
  /** `train NAME` */
  usage: string;
  summary: string;
  /** Names of the arguments that must be given. */
  arguments: readonly string[];
  /** More arguments than named may follow. */
  rest?: boolean;
  options: Options;
  /** What the options mean, by name. */
  meaning: Record<string, string>;
  example: string;
  run(session: Session): Promise<void>;
}

/** The command was called wrongly; exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** It was done, and what it found is told by the exit code. */
export class Found extends Error {
  override name = 'Found';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A number among the options. @throws UsageError */
export function numberOf(values: Values, name: string): number | undefined {
  const value = values[name];
  if (value === undefined) return undefined;
  const number = Number(value);
  if (value === '' || !Number.isFinite(number))
    throw new UsageError(`--${name} is a number and not '${value}'`);
  return number;
}

export function textOf(values: Values, name: string): string {
  return String(values[name] ?? '');
}

export function listOf(values: Values, name: string): string[] {
  return ((values[name] ?? []) as string[]).flatMap((text) => text.split(',')).filter((text) => text !== '');
}

/** A member of an enumeration by its name in lower case without its prefix. @throws UsageError naming the choices */
export function enumOf<E extends Record<string, string | number>>(
  members: E,
  text: string,
  what: string,
): E[keyof E] {
  const names = Object.keys(members).filter((key) => Number.isNaN(Number(key)) && key !== 'UNSPECIFIED');
  const found = names.find((key) => key === text.toUpperCase().replaceAll('-', '_'));
  if (!found) throw new UsageError(`${what} is one of ${names.join(', ').toLowerCase()} and not '${text}'`);
  return members[found] as E[keyof E];
}

/** `models:/name/version` as it is, `name/version` and `name@alias` with their scheme, `name` as its latest version. */
export async function reference({ clients }: Session, text: string): Promise<string> {
  if (text === '' || text.startsWith('models:/')) return text;
  if (/[@/]/.test(text)) return `models:/${text}`;
  const { model } = await clients.registry.getModel({ name: text });
  if (!model!.latestVersion) throw new Error(`${text} has no committed version yet`);
  return `models:/${text}/${model!.latestVersion}`;
}

/** Name and version, or name and `@alias`, of a reference. */
export function partsOf(ref: string): { name: string; version: string } {
  const [, name, version] = /^models:\/([^@/]+)\/?(@?.+)$/.exec(ref) ?? [];
  if (!name || !version) throw new UsageError(`'${ref}' is not models:/name/version or models:/name@alias`);
  return { name, version };
}

/** Options of a call that works through a whole data set before it answers: an hour, until Ctrl-C. */
export function patient({ signal }: Session): { timeoutMs: number; signal: AbortSignal } {
  return { timeoutMs: 3_600_000, signal };
}

const PAGE = 500;

/** What a list has on all its pages together. */
export async function allPages<T>(
  read: (page: { pageSize: number; pageToken: string }) => Promise<{ items: T[]; nextPageToken: string }>,
): Promise<T[]> {
  const all: T[] = [];
  let pageToken = '';
  do {
    const { items, nextPageToken } = await read({ pageSize: PAGE, pageToken });
    all.push(...items);
    pageToken = nextPageToken;
  } while (pageToken !== '');
  return all;
}
