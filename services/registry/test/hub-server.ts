import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Files } from './fixtures.ts';

const sha256 = (content: Buffer) => createHash('sha256').update(content).digest('hex');
/** As git names a blob. */
const blobId = (content: Buffer) =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');

type Repository = { commit: string; files: Files; private: boolean };
/** A request as the hub saw it. */
export type Seen = { path: string; range: string | undefined; token: string | undefined };

/**
 * A hub that speaks the protocol of huggingface.co: the listing of a revision with blobs, and `resolve` with a
 * redirect to where the content of files in LFS lies (here a second server), with ETags, linked ETags, the commit
 * and ranges.
 */
export class HubServer implements AsyncDisposable {
  readonly repositories = new Map<string, Repository>();
  readonly seen: Seen[] = [];
  /** Bytes after which the next answers with content break off, each once. */
  readonly breaks: number[] = [];
  /** Status codes that the next requests for a file get instead of it. */
  readonly busyContent: number[] = [];
  /** Where content of LFS is redirected to, in place of the second server. */
  redirect: ((path: string) => string) | undefined;
  /** Content in place of a file's. */
  readonly swapped = new Map<string, Buffer>();
  /** Whether ranges are answered with the whole content. */
  ignoresRanges = false;
  readonly #hub: Server;
  readonly #storage: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer(request, response));
    this.#storage = createServer((request, response) => this.#content(request, response));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    for (const one of [server.#hub, server.#storage]) {
      await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
    }
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  /** `host:port` of the content of LFS. */
  get storageHost(): string {
    return `127.0.0.1:${(this.#storage.address() as AddressInfo).port}`;
  }

  add(id: string, files: Files, isPrivate = false): string {
    const commit = createHash('sha1')
      .update(`${id}${[...files.keys()]}${Math.random()}`)
      .digest('hex');
    this.repositories.set(id, { commit, files, private: isPrivate });
    return commit;
  }

  /** Ranges that content was asked for with, of a path's end. */
  ranges(end: string): (string | undefined)[] {
    return this.seen
      .filter(({ path }) => path.startsWith('/storage') && path.endsWith(end))
      .map(({ range }) => range);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of [this.#hub, this.#storage]) {
      one.closeAllConnections();
      await new Promise((resolve) => one.close(resolve));
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url!, 'http://hub').pathname);
    this.#note(path, request);
    const listing = /^\/api\/models\/(.+)\/revision\/(.+)$/.exec(path);
    const resolve = /^\/(.+?)\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(path);
    const [, id = '', revision = '', file = ''] = listing ?? resolve ?? [];
    const repository = this.repositories.get(id);
    if (!repository) {
      end(response, 404);
      return;
    }
    if (repository.private && request.headers.authorization !== 'Bearer hub-token') {
      end(response, 401);
      return;
    }
    if (revision !== 'main' && revision !== repository.commit) {
      end(response, 404);
      return;
    }
    if (listing) {
      this.#list(id, repository, response);
      return;
    }
    const busy = this.busyContent.shift();
    if (busy !== undefined) {
      end(response, busy);
      return;
    }
    const content = repository.files.get(file);
    if (!content) {
      end(response, 404);
      return;
    }
    const headers = { 'x-repo-commit': repository.commit, 'accept-ranges': 'bytes' };
    if (!isLarge(file)) {
      this.#send(request, response, this.swapped.get(file) ?? content, {
        ...headers,
        etag: `"${blobId(content)}"`,
      });
      return;
    }
    const location = this.redirect?.(file) ?? `http://${this.storageHost}/storage/${id}/${file}`;
    const linked = { 'x-linked-etag': `"${sha256(content)}"`, 'x-linked-size': `${content.length}` };
    response.writeHead(302, { ...headers, ...linked, location }).end();
  }

  #list(id: string, { commit, files }: Repository, response: ServerResponse): void {
    const siblings = [...files].map(([rfilename, content]) => ({
      rfilename,
      size: content.length,
      blobId: blobId(content),
      ...(isLarge(rfilename) && { lfs: { sha256: sha256(content), size: content.length, pointerSize: 130 } }),
    }));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ id, sha: commit, siblings }));
  }

  #content(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url!, 'http://hub').pathname);
    this.#note(path, request);
    const [, id = '', file = ''] = /^\/storage\/([^/]+\/[^/]+)\/(.+)$/.exec(path) ?? [];
    const content = this.swapped.get(file) ?? this.repositories.get(id)?.files.get(file);
    if (!content) {
      end(response, 404);
      return;
    }
    this.#send(request, response, content, { etag: `"${sha256(content)}"` });
  }

  #send(
    request: IncomingMessage,
    response: ServerResponse,
    content: Buffer,
    headers: Record<string, string>,
  ) {
    const from = this.ignoresRanges
      ? 0
      : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (from > 0 && from >= content.length) {
      end(response, 416);
      return;
    }
    const part = content.subarray(from);
    const range = `bytes ${from}-${content.length - 1}/${content.length}`;
    response.writeHead(from > 0 ? 206 : 200, {
      ...headers,
      'content-length': part.length,
      ...(from > 0 && { 'content-range': range }),
    });
    const cut = isLarge(request.url!) ? this.breaks.shift() : undefined;
    if (cut === undefined) response.end(part);
    else response.write(part.subarray(0, cut), () => response.destroy());
  }

  #note(path: string, { headers }: IncomingMessage): void {
    this.seen.push({ path, range: headers.range, token: headers.authorization });
  }
}

function end(response: ServerResponse, statusCode: number): void {
  response.writeHead(statusCode, { 'retry-after': '0' }).end();
}

const isLarge = (path: string) => /\.(safetensors|onnx|onnx_data)$/.test(path);
