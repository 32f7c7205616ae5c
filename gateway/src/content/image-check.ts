import { createHash } from 'node:crypto';
import { clone, type Message } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { bareImage } from '@landfall/images/bare.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { Page } from '@landfall/ocr/page.ts';
import type { Reading } from '@landfall/ocr/reading.ts';
import { LRUCache } from 'lru-cache';
import type { Flow } from '../edge/governance.ts';
import type { ImageReaders } from '../ocr/image-readers.ts';
import type { Check } from './check.ts';
import type { ImageCounts } from './image-counts.ts';
import { type ImagePlace, imagesIn } from './images.ts';

/** What became of the images of a request that may pass. */
export interface ImagesPassed {
  message: Message;
  /** What is read in them as they go on: for judges and reviewers. */
  texts: readonly string[];
  /** Filters by which a person has to decide. */
  flagged: readonly string[];
}

/** What was decided on one image. */
interface Ruling {
  /** Kinds and filters that do not let it pass. */
  blocked: readonly string[];
  flagged: readonly string[];
  /** Texts of the image that goes on. */
  texts: readonly string[];
  /** What goes on in its place; undefined where it goes on as it came. */
  instead: Uint8Array | undefined;
}

/** Images of one request. Contracts allow fewer a message, and say so once the request is forwarded. */
const MOST_IMAGES = 256;
/** How often an image is painted and read again until nothing is found in it. */
const MOST_COATS = 3;
/** Rulings that are kept: a conversation shows its images again with every turn. */
const KEPT_BYTES = 32 * 1024 * 1024;
const KEPT_MS = 3_600_000;

/** Holds what stands in images to the rules for texts. */
export class ImageCheck {
  readonly #readers: ImageReaders;
  readonly #counts: ImageCounts;
  readonly #kept = new LRUCache<string, Ruling>({
    maxSize: KEPT_BYTES,
    ttl: KEPT_MS,
    sizeCalculation: ({ instead, texts }) =>
      256 + (instead?.length ?? 0) + 2 * texts.reduce((sum, text) => sum + text.length, 0),
  });

  constructor(readers: ImageReaders, counts: ImageCounts) {
    this.#readers = readers;
    this.#counts = counts;
  }

  /**
   * A request with its images as they may go on; undefined where it has none.
   * @throws LandfallError for an image that must not pass, is none that is taken, or can't be read now
   */
  pass(flow: Flow, message: Message, check: Check, version: number): Promise<ImagesPassed> | undefined {
    const places = imagesIn(flow.call.method.input, message);
    return places.length === 0 ? undefined : this.#pass(flow, message, places, check, version);
  }

  async #pass(
    flow: Flow,
    message: Message,
    places: readonly ImagePlace[],
    check: Check,
    version: number,
  ): Promise<ImagesPassed> {
    if (places.length > MOST_IMAGES)
      throw invalidArgument(
        places[MOST_IMAGES]!.path,
        `is one image more than the ${MOST_IMAGES} of a request`,
      );
    const rulings: Ruling[] = [];
    // One after the other: a request takes one place among those who wait, however many images it has.
    for (const { path, read } of places) {
      const ruling = await this.#rule(flow, check, read).catch((cause: unknown) => {
        this.#counts.add(flow.caller.tenant, 'unread');
        throw cause instanceof ImageError ? invalidArgument(path, cause.message) : cause;
      });
      if (ruling.blocked.length > 0) throw check.refusal('image', ruling.blocked, version, path);
      rulings.push(ruling);
    }
    return {
      message: withInstead(flow, message, rulings),
      texts: rulings.flatMap(({ texts }) => texts),
      flagged: rulings.flatMap(({ flagged }) => flagged),
    };
  }

  async #rule(flow: Flow, check: Check, read: () => Uint8Array): Promise<Ruling> {
    const { tenant } = flow.caller;
    const bytes = read();
    const digest = createHash('sha256').update(bytes).digest('base64url');
    const key = `${tenant}\n${flow.contentRule}\n${digest}`;
    const known = this.#kept.get(key);
    if (known) {
      this.#counts.add(tenant, 'remembered');
      return known;
    }
    const begun = performance.now();
    const made = await this.#made(bytes, check, flow.call.signal);
    this.#kept.set(key, made);
    this.#counts.add(tenant, outcomeOf(made), performance.now() - begun);
    return made;
  }

  async #made(bytes: Uint8Array, check: Check, signal: AbortSignal): Promise<Ruling> {
    const bare = bareImage(bytes);
    let shown = bare;
    const flagged = new Set<string>();
    for (let coats = 0; ; coats++) {
      const readings = await this.#readers.read(shown, signal);
      const pages = pagesOf(readings);
      const weighed = pages.map((page) => ({ page, ...check.weigh(page.text) }));
      const blocked = weighed.flatMap((one) => one.blocked);
      const covered = weighed.flatMap((one) => one.covered.map(({ type }) => type));
      for (const name of weighed.flatMap((one) => one.flagged)) flagged.add(name);
      // Judges and reviewers get words.
      const texts = readings.map((reading) => new Page(reading, 'words').text).filter((text) => text !== '');
      if (blocked.length > 0) return refused(blocked);
      if (covered.length === 0) {
        return { blocked, flagged: [...flagged], texts, instead: shown === bytes ? undefined : shown };
      }
      const areas = weighed.flatMap((one) =>
        one.covered.map(({ start, end }) => one.page.areasOf(start, end)),
      );
      // What has no place, or shows through, does not pass.
      if (coats === MOST_COATS || areas.some((one) => one.length === 0)) return refused(covered);
      shown = await this.#readers.paint(shown, areas.flat(), signal);
    }
  }
}

/** All texts that an image may be read as: words may have run together, and what stands above one another may be one. */
function pagesOf(readings: readonly Reading[]): Page[] {
  const pages = readings.flatMap((reading) => ORDERS.map((order) => new Page(reading, order)));
  return pages.filter(({ text }, i) => pages.findIndex((page) => page.text === text) === i);
}

const ORDERS = ['words', 'rows', 'columns'] as const;

const refused = (kinds: readonly string[]): Ruling => ({
  ...{ blocked: [...new Set(kinds)], flagged: [], texts: [], instead: undefined },
});

function outcomeOf({ blocked, flagged, instead }: Ruling) {
  if (blocked.length > 0) return 'blocked';
  if (flagged.length > 0) return 'flagged';
  return instead ? 'changed' : 'passed';
}

/** The request itself where all of its images go on as they came. */
function withInstead(flow: Flow, message: Message, rulings: readonly Ruling[]): Message {
  if (rulings.every(({ instead }) => instead === undefined)) return message;
  const { input } = flow.call.method;
  const copy = clone(input, message);
  for (const [i, place] of imagesIn(input, copy).entries()) {
    const { instead } = rulings[i]!;
    if (instead) place.put(instead);
  }
  return copy;
}
