import type { IncomingMessage } from 'node:http';
import {
  dataLoss,
  failedPrecondition,
  type LandfallError,
  notFound,
  resourceExhausted,
  unavailable,
} from '@landfall/common/errors/errors.ts';
import { isObject } from '../inspect/json.ts';
import { fetchFollowing } from './http.ts';

export type HubConfig = {
  /** `https://huggingface.co` or a mirror; with a path where the mirror has one. */
  endpoint: string;
  /** For repositories that ask for one; '' for none. */
  token: string;
  /** Further `host:port` that the hub may redirect to though they are private. */
  hosts: readonly string[];
  /** Whether the registry may not ask the hub at all. */
  offline: boolean;
};

/** A file of a repository at a commit. */
export type HubFile = {
  path: string;
  sizeBytes: number;
  /** sha256 of the content as `sha256:...`, for files in LFS; '' for those in git. */
  digest: string;
  /** sha1 of git's blob, for those in git; '' where the hub does not tell. */
  blobId: string;
};

/** A revision of a repository, by its commit. */
export type HubRevision = { id: string; commit: string; files: HubFile[] };

const MAX_LISTING_BYTES = 32 * 1024 * 1024;
const COMMIT = /^[0-9a-f]{40}$/;

/** Reads repositories of a hub that speaks the protocol of huggingface.co. */
export class HubClient {
  readonly #config: HubConfig;
  readonly #trusted: ReadonlySet<string>;
  readonly #idleMs: number;

  /** @param idleMs longest silence of the hub, in milliseconds */
  constructor(config: HubConfig, idleMs: number) {
    this.#config = config;
    this.#trusted = new Set([new URL(config.endpoint).host, ...config.hosts]);
    this.#idleMs = idleMs;
  }

  /**
   * The commit that a revision means now, and its files. Throws NOT_FOUND, FAILED_PRECONDITION where the hub wants
   * a token, UNAVAILABLE.
   */
  async revision(id: string, revision: string, signal: AbortSignal): Promise<HubRevision> {
    if (this.#config.offline) {
      throw failedPrecondition('this registry asks no hub (HF_HUB_OFFLINE is set); import a folder instead', {
        reason: 'HUB_OFFLINE',
      });
    }
    const url = this.#url(`api/models/${escapePath(id)}/revision/${encodeURIComponent(revision)}`);
    url.searchParams.set('blobs', 'true');
    const { response } = await fetchFollowing(url, this.#options(signal));
    requireOk(response, id, revision);
    const listing: unknown = JSON.parse(await readText(response, MAX_LISTING_BYTES));
    if (!isObject(listing) || typeof listing.sha !== 'string' || !COMMIT.test(listing.sha)) {
      throw unavailable('the hub answered with no commit; is HF_ENDPOINT a hub?');
    }
    const siblings = Array.isArray(listing.siblings) ? listing.siblings : [];
    return { id, commit: listing.sha, files: siblings.flatMap(readSibling) };
  }

  /**
   * The content of a file from a byte on. The answer may begin at 0 all the same: `offset` tells. Throws as
   * `revision` does, DATA_LOSS when the hub gives another commit, and RangeError when the file ends before `offset`.
   */
  async open(
    { id, commit }: HubRevision,
    file: HubFile,
    offset: number,
    signal: AbortSignal,
  ): Promise<{ content: IncomingMessage; offset: number; digest: string }> {
    const url = this.#url(`${escapePath(id)}/resolve/${commit}/${escapePath(file.path)}`);
    const range: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const { response, headers } = await fetchFollowing(url, this.#options(signal, range));
    if (response.statusCode === 416) {
      response.destroy();
      throw new RangeError(`'${file.path}' has no byte ${offset}`);
    }
    requireOk(response, id, commit);
    const served = headers['x-repo-commit'];
    if (served !== undefined && served !== commit) {
      response.destroy();
      throw dataLoss(`the hub gave '${file.path}' of commit ${served.slice(0, 40)} and not of ${commit}`);
    }
    const linked = /^(?:W\/)?"?([0-9a-f]{64})"?$/.exec(headers['x-linked-etag'] ?? '')?.[1];
    const digest = linked ? `sha256:${linked}` : '';
    if (response.statusCode !== 206) return { content: response, offset: 0, digest };
    const start = Number(/^bytes (\d+)-/.exec(response.headers['content-range'] ?? '')?.[1] ?? Number.NaN);
    if (start === offset) return { content: response, offset, digest };
    response.destroy();
    throw unavailable(`the hub gave another part of '${file.path}' than it was asked for`);
  }

  #url(path: string): URL {
    return new URL(`${this.#config.endpoint.replace(/\/+$/, '')}/${path}`);
  }

  #options(signal: AbortSignal, headers: Record<string, string> = {}) {
    return { trusted: this.#trusted, token: this.#config.token, idleMs: this.#idleMs, headers, signal };
  }
}

function escapePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}

function readSibling(sibling: unknown): HubFile[] {
  if (!isObject(sibling) || typeof sibling.rfilename !== 'string') return [];
  const lfs = isObject(sibling.lfs) ? sibling.lfs : {};
  const size = typeof lfs.size === 'number' ? lfs.size : sibling.size;
  return [
    {
      path: sibling.rfilename,
      sizeBytes: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : 0,
      digest:
        typeof lfs.sha256 === 'string' && /^[0-9a-f]{64}$/.test(lfs.sha256) ? `sha256:${lfs.sha256}` : '',
      blobId: typeof sibling.blobId === 'string' && COMMIT.test(sibling.blobId) ? sibling.blobId : '',
    },
  ];
}

function requireOk(response: IncomingMessage, id: string, revision: string): void {
  const { statusCode = 0 } = response;
  if (statusCode === 200 || statusCode === 206) return;
  response.destroy();
  throw refusal(statusCode, Number(response.headers['retry-after']), id, revision);
}

function refusal(statusCode: number, retryAfter: number, id: string, revision: string): LandfallError {
  if (statusCode === 404) {
    return notFound(`the hub has no '${id}' with the revision '${revision}'`, { reason: 'HUB_NOT_FOUND' });
  }
  if (statusCode === 401 || statusCode === 403) {
    return failedPrecondition(
      `the hub does not give '${id}' to this registry: it does not exist, or it asks for a token (HF_TOKEN) whose ` +
        'owner has agreed to its terms',
      { reason: 'HUB_REFUSED' },
    );
  }
  const retryAfterMs = Number.isFinite(retryAfter) ? Math.min(Math.max(retryAfter, 0), 60) * 1000 : 1000;
  if (statusCode === 429) {
    return resourceExhausted('the hub takes no more requests of this registry for now', { retryAfterMs });
  }
  return unavailable(`the hub answered with ${statusCode}; try again`, { retryAfterMs });
}

async function readText(response: IncomingMessage, limitBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let received = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received > limitBytes) throw unavailable('the hub answered with an endless listing');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
