import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Run } from '../template.ts';
import type { Data } from './data.ts';

/** Names and values of a part of a template. */
export class Scope {
  readonly #values = new Map<string, Data>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Data | undefined {
    return this.#values.has(name) ? this.#values.get(name) : this.#outer?.get(name);
  }

  set(name: string, value: Data): void {
    this.#values.set(name, value);
  }
}

/** Where an expression is worked out. */
export interface Frame {
  readonly run: Run;
  readonly scope: Scope;
}

export type Expression = (frame: Frame) => Data;
/** Tells whether a loop is left or goes on with its next item. */
export type Statement = (frame: Frame) => 'break' | 'continue' | undefined;

/** Parts within parts of a template. */
const DEEPEST = 100;

/** What is learnt of a template while it is read. */
export class Compilation {
  readonly variables = new Set<string>();
  readonly parts = new Set<string>();
  readonly field: string;
  #bound: Set<string>[] = [new Set()];
  #depth = 0;
  loops = 0;

  constructor(field: string) {
    this.field = field;
  }

  fail(what: string): never {
    throw invalidArgument(this.field, what, { reason: 'BAD_TEMPLATE' });
  }

  /** @throws LandfallError INVALID_ARGUMENT beyond the deepest nesting */
  within<T>(read: () => T): T {
    if (++this.#depth > DEEPEST) this.fail(`is nested more than ${DEEPEST} deep`);
    const made = read();
    this.#depth--;
    return made;
  }

  /** Reads a part with names of its own. */
  scoped<T>(names: readonly string[], read: () => T): T {
    this.#bound.push(new Set(names));
    const made = read();
    this.#bound.pop();
    return made;
  }

  bind(name: string): void {
    this.#bound.at(-1)!.add(name);
  }

  use(name: string): void {
    if (!this.#bound.some((names) => names.has(name))) this.variables.add(name);
  }
}
