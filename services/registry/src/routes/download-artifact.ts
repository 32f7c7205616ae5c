import { SUM_CHUNK_BYTES } from '@landfall/common/artifacts/chunk-sums.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { versionFiles } from '../domain/commit.ts';
import { findVersion } from '../domain/find.ts';
import { checkFilePath } from '../domain/path.ts';
import { formatReference } from '../domain/reference.ts';
import { fileReply } from '../domain/replies.ts';
import { storedFile } from '../domain/stored-file.ts';
import { fileNotFound } from '../errors.ts';

/** Largest chunk, as the contract says. */
const CHUNK_BYTES = 256 * 1024;

export const downloadArtifact: Route<'downloadArtifact'> = ({ artifacts, database }) =>
  async function* (request, { identity: { tenant }, signal }) {
    const { name, path, digest } = request;
    if (path === '' && digest === '') throw invalidArgument('path', 'name a file by its path or its digest');
    if (path !== '') checkFilePath(path);
    const { ref, files } = await database.read(async (em) => {
      const version = await findVersion(em, tenant, name, request.version);
      return { ref: formatReference(name, version.version), files: await versionFiles(em, version.id) };
    });
    const file = files.find((candidate) =>
      path !== ''
        ? candidate.path === path && (digest === '' || candidate.digest === digest)
        : candidate.digest === digest,
    );
    if (!file) throw fileNotFound(ref, path || digest);
    if (request.offset > BigInt(file.sizeBytes)) {
      throw invalidArgument('offset', `the file has ${file.sizeBytes} bytes`);
    }
    const offset = Number(request.offset);
    const left = file.sizeBytes - offset;
    const length = request.length > 0n && request.length < BigInt(left) ? Number(request.length) : left;

    const content = storedFile(artifacts, file);
    yield { file: fileReply(file) };
    if (length === file.sizeBytes) {
      for await (const chunk of content.stream(signal)) yield { chunk };
      return;
    }
    const end = offset + length;
    for (let at = offset; at < end; ) {
      signal.throwIfAborted();
      // Up to the next border of the pieces that a store verifies, so that none is read twice.
      const next = Math.min((Math.floor(at / SUM_CHUNK_BYTES) + 1) * SUM_CHUNK_BYTES, end);
      const bytes = await content.read(at, next - at);
      for (let sent = 0; sent < bytes.length; sent += CHUNK_BYTES) {
        yield { chunk: bytes.subarray(sent, sent + CHUNK_BYTES) };
      }
      at = next;
    }
  };
