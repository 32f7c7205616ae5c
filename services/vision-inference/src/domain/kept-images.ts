import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { StoredImage } from '@landfall/images/stored.ts';
import { LockMode } from '@mikro-orm/core';
import { ImageEntity, ReportEntity } from '../db/inspection-entities.ts';

/** An image that nobody took for this long may be swept: longer than any inspection takes to write its report. */
const FRESH_MS = 3_600_000;
const BATCH = 1000;

/** Images of reports, by the digest of what is kept of them. */
export class KeptImages {
  readonly #store: ArtifactStore;
  readonly #database: Database;

  constructor(store: ArtifactStore, database: Database) {
    this.#store = store;
    this.#database = database;
  }

  /** Keeps an image; it is durable when this resolves. */
  async keep({ bytes, digest, mediaType }: StoredImage, signal: AbortSignal): Promise<void> {
    // First the mark, which a sweep waits for, then the content: what is marked freshly is not swept.
    await this.#database.transaction((em) =>
      em.upsert(ImageEntity, { digest, mediaType, usedMs: Date.now() }),
    );
    async function* once() {
      yield bytes;
    }
    await this.#store.put(once(), { digest, signal });
  }

  /** @throws LandfallError FAILED_PRECONDITION when it is not kept any more, DATA_LOSS when it has changed */
  async read(digest: string, signal: AbortSignal): Promise<{ bytes: Uint8Array; mediaType: string }> {
    const row = digest === '' ? null : await this.#database.read((em) => em.findOne(ImageEntity, { digest }));
    if (!row) {
      throw failedPrecondition('the image is not kept any more; its profile says for how long', {
        reason: 'IMAGE_GONE',
      });
    }
    const parts: Uint8Array[] = [];
    for await (const part of this.#store.read(digest, signal)) parts.push(part);
    return { bytes: Buffer.concat(parts), mediaType: row.mediaType };
  }

  /** Lets go of images whose time is over, except those of undecided reviews. @returns how many reports lost theirs */
  async sweep(nowMs: number): Promise<number> {
    const due = await this.#database.read((em) =>
      em
        .createQueryBuilder(ReportEntity, 'r')
        .select(['r.id', 'r.imageDigest'])
        .where({ imageUntilMs: { $lte: nowMs } })
        .andWhere('not exists (select 1 from review v where v.report_id = r.id and v.decided = ?)', [false])
        .orderBy({ imageUntilMs: 'asc' })
        .limit(BATCH)
        .getResultList(),
    );
    let gone = 0;
    for (const { id, imageDigest } of due) if (await this.#letGo(id, imageDigest, nowMs)) gone++;
    return gone;
  }

  async #letGo(id: string, digest: string, nowMs: number): Promise<boolean> {
    return this.#database.transaction(async (em) => {
      const image = await em.findOne(ImageEntity, { digest }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (image && image.usedMs > nowMs - FRESH_MS) return false;
      await em.nativeUpdate(ReportEntity, { id }, { imageDigest: '', imageUntilMs: null });
      const others = await em.count(ReportEntity, { imageDigest: digest });
      if (!image || others > 0) return true;
      await this.#store.delete(digest);
      await em.nativeDelete(ImageEntity, { digest });
      return true;
    });
  }
}
