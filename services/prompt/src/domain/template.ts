import type { Budget } from './budget.ts';
import type { Value } from './variables.ts';

/** Where few-shot examples stand in a template. */
export const EXAMPLES = 'examples';

/** What a place can hold: a value, the picture of a variable, or examples with their values. */
export type Filling = Value | Picture | readonly Example[];

/** An example as templates see it: values by variable, and `output`. */
export type Example = ReadonlyMap<string, Value | Picture>;

/** A picture, which can be put in and nothing else. */
export class Picture {
  readonly variable: string;
  readonly reference: string;

  constructor(variable: string, reference: string) {
    this.variable = variable;
    this.reference = reference;
  }
}

/** One rendering. */
export interface Run {
  readonly budget: Budget;
  /** By variable. */
  readonly values: ReadonlyMap<string, Filling>;
  /** Puts another prompt in, by its reference `name@label`. */
  include(reference: string): void;
  /** Puts the few-shot examples in where the simple form says `{examples}`; absent where there are none. */
  readonly emitExamples?: (() => void) | undefined;
}

/** A turn's text, read once. */
export interface Template {
  /** Names that it uses and doesn't set itself, each once, in order. */
  readonly variables: readonly string[];
  /** References to other prompts, each once, in order. */
  readonly parts: readonly string[];
  /** Adds its text to the run's budget. @throws LandfallError RESOURCE_EXHAUSTED, INVALID_ARGUMENT */
  fill(run: Run): void;
}

/** `name@label` or `name/1.2.0`. */
export const REFERENCE = /^([a-z0-9]+(?:[._-][a-z0-9]+)*)(@[a-z][a-z0-9_-]{0,63}|\/[0-9A-Za-z.+-]{1,64})$/;
