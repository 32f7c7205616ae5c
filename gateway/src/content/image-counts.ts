import { type Observation, observe } from '@landfall/common/telemetry/metrics.ts';
import type { ImageReaders } from '../ocr/image-readers.ts';

/** What became of an image that a policy has read. */
export type ImageOutcome = 'passed' | 'changed' | 'flagged' | 'blocked' | 'unread' | 'remembered';

/** Counts images by what became of them; never what stood in them. */
export class ImageCounts {
  readonly #tenants = new Map<string, Map<ImageOutcome, number>>();
  #milliseconds = 0;

  /** @param ms that reading took, waiting included */
  add(tenant: string, outcome: ImageOutcome, ms = 0): void {
    const counts = this.#tenants.get(tenant) ?? new Map<ImageOutcome, number>();
    this.#tenants.set(tenant, counts);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    this.#milliseconds += ms;
  }

  /** A tenant's images by what became of them. */
  of(tenant: string): Partial<Record<ImageOutcome, number>> {
    return Object.fromEntries(this.#tenants.get(tenant) ?? []);
  }

  /** Figures among the gateway's metrics. @returns ends them */
  observe(readers: ImageReaders): () => void {
    const images = { description: 'Images that content policies had read, by what became of them' };
    const seconds = { description: 'Time that reading images took, waiting included', unit: 's' };
    const waiting = { description: 'Images that wait to be read' };
    const ends = [
      observe('counter', 'landfall_content_images', images, () =>
        [...this.#tenants].flatMap(([tenant, counts]) =>
          [...counts].map(([outcome, count]): Observation => [count, { tenant, outcome }]),
        ),
      ),
      observe('counter', 'landfall_content_images_time', seconds, () => [[this.#milliseconds / 1000, {}]]),
      observe('gauge', 'landfall_content_images_waiting', waiting, () => [[readers.waiting, {}]]),
    ];
    return () => {
      for (const end of ends) end();
    };
  }
}
