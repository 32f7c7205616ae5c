import { CATEGORIES, type Category } from '@landfall/filtering/categories/model.ts';
import type { Random } from '../base-model/random.ts';
import { benign } from './material/benign.ts';
import { fraud } from './material/fraud.ts';
import { hate } from './material/hate.ts';
import { illegalGoods } from './material/illegal-goods.ts';
import type { Grammar, Material } from './material/material.ts';
import { selfHarm } from './material/self-harm.ts';
import { sexual } from './material/sexual.ts';
import { violence } from './material/violence.ts';
import { WORDS } from './material/words.ts';

export interface Example {
  text: string;
  /** Undefined for what is of no category. */
  category: Category | undefined;
}

const MATERIAL: Readonly<Record<Category, Material>> = {
  ...{ violence, self_harm: selfHarm, sexual, hate, illegal_goods: illegalGoods, fraud },
};
/** Every so many templates one is kept from learning. */
const HELD_OUT_EVERY = 6;

export type Part = 'learn' | 'held out';

/** @param count texts of each category and language; four times as many of no category */
export function makeExamples(random: Random, count: number, part: Part): Example[] {
  const made: Example[] = [];
  for (const language of ['zh', 'en'] as const) {
    const plain = new Writer(benign[language], part, random);
    for (let i = 0; i < 4 * count; i++) {
      const sentences = Array.from({ length: 1 + random.below(3) }, () => plain.write());
      made.push({ text: joined(sentences, language, random), category: undefined });
    }
    for (const category of CATEGORIES) {
      const writer = new Writer(MATERIAL[category][language], part, random);
      for (let i = 0; i < count; i++) {
        const sentences = [writer.write()];
        // One of them stands among others.
        if (random.next() < 0.3)
          sentences.splice(random.below(2), 0, random.next() < 0.5 ? plain.write() : writer.write());
        made.push({ text: joined(sentences, language, random), category });
      }
    }
  }
  return random.shuffle(made);
}

function joined(sentences: readonly string[], language: 'zh' | 'en', random: Random): string {
  const text = sentences.map((one) =>
    /[?？.。!！]$/.test(one) ? one : `${one}${language === 'zh' ? '。' : '.'}`,
  );
  const whole = text.join(language === 'zh' ? '' : ' ');
  return random.next() < 0.5 ? whole : whole.slice(0, -1);
}

/** Texts of words alone, some among ordinary ones: `count` of each category and language, as many of no category. */
export function makeWordExamples(random: Random, count: number): Example[] {
  const made: Example[] = [];
  for (const language of ['zh', 'en'] as const) {
    const entries = (name: Category | 'none') => WORDS[name][language].split('|');
    const plain = new Writer(benign[language], 'learn', random);
    for (const name of [...CATEGORIES, 'none'] as const) {
      const own = entries(name);
      for (let i = 0; i < (name === 'none' ? 3 : 1) * count; i++) {
        const words = random.sample(own, 1 + random.below(3));
        words.push(...random.sample(entries('none'), random.below(3)));
        if (random.next() < 0.4) words.push(plain.write());
        const text = random.shuffle(words).join(language === 'zh' ? random.pick(['', ',', ' ']) : ' ');
        made.push({ text, category: name === 'none' ? undefined : name });
      }
    }
  }
  return made;
}

/** Writes texts of a grammar's templates. */
class Writer {
  readonly #lists: ReadonlyMap<string, readonly string[]>;
  readonly #templates: readonly string[];
  readonly #random: Random;

  constructor({ lists, templates }: Grammar, part: Part, random: Random) {
    this.#lists = new Map(Object.entries(lists).map(([name, entries]) => [name, entries.split('|')]));
    this.#templates = templates.filter((_, i) => (i % HELD_OUT_EVERY === 3) === (part === 'held out'));
    this.#random = random;
  }

  write(): string {
    let text = this.#random.pick(this.#templates);
    // From the inside out: wordings may hold lists.
    for (let before = ''; before !== text; ) {
      before = text;
      text = text
        .replace(/\[([^[\]]*)\]/g, (_, wordings: string) => this.#random.pick(wordings.split('|')))
        .replace(/\{(\w+)\}/g, (slot, name: string) => {
          const list = this.#lists.get(name);
          if (!list) throw new Error(`no list is named ${slot}`);
          return this.#random.pick(list);
        });
    }
    return text;
  }
}
