import { join } from 'node:path';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { unlessAborted } from '@landfall/common/lifecycle/unless-aborted.ts';
import type { ImportModelRequest } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryContext } from '../context.ts';
import { chooseFiles } from '../hub/choose.ts';
import type { HubFile, HubRevision } from '../hub/client.ts';
import { Staging } from '../hub/staging.ts';
import type { Put } from './blobs.ts';
import type { Gathered, Report } from './import.ts';
import type { ImportLimits } from './import-folder.ts';
import { watchIntake } from './intake.ts';

/** Files that come in at the same time. */
const CONCURRENCY = 4;
const MAX_SKIPPED = 100;

/** Where content of hubs is kept on its way. */
export function stagingRoot(home: string): string {
  return join(home, 'hub');
}

/**
 * Brings the files of a hub repository into the store: into a staging folder first, where a broken import goes on,
 * then, verified, from there.
 */
export async function gatherHub(
  { config, hub, hubImports }: RegistryContext,
  { hubId, revision: wanted, include }: ImportModelRequest,
  put: Put,
  report: Report,
  signal: AbortSignal,
): Promise<Gathered> {
  report({ step: 'list' });
  const revision = await hub.revision(hubId, wanted || 'main', signal);
  const { files, skipped } = chooseFiles(revision.files, include);
  checkLimits(files, config.importLimits, config.maxFileBytes);
  const key = `${hubId} ${revision.commit}`;
  // Two imports of one commit would write into the same staging: the second comes when the first is done.
  while (hubImports.has(key)) await unlessAborted(hubImports.get(key)!, signal);
  const { promise, resolve } = Promise.withResolvers<void>();
  hubImports.set(key, promise);
  const finish = () => {
    hubImports.delete(key);
    resolve();
  };
  try {
    signal.throwIfAborted();
    const staging = await Staging.open(stagingRoot(config.home), config.hub.endpoint, revision);
    const digests = await download({ hub, revision, files, staging }, report, signal);
    report({ step: 'store' });
    const stored: Gathered['files'] = [];
    for (const file of files) {
      const options = { sizeBytes: 0, idleMs: config.uploadIdleMs, signal };
      const content = watchIntake(file.path, staging.read(file), options);
      const digest = digests.get(file.path)!;
      const blob = await put(content, {
        digest,
        sizeBytes: file.sizeBytes,
        maxBytes: config.maxFileBytes,
        signal,
      });
      stored.push({ path: file.path, ...blob });
    }
    return {
      files: stored,
      source: `hf://${hubId}@${revision.commit}`,
      skipped: skipped.slice(0, MAX_SKIPPED),
      done: () => staging.remove(),
      release: finish,
    };
  } catch (error) {
    finish();
    throw error;
  }
}

type Download = {
  hub: RegistryContext['hub'];
  revision: HubRevision;
  files: readonly HubFile[];
  staging: Staging;
};

/** All files, a few at a time; the first that fails stops the others. Returns their digests by path. */
async function download(
  { hub, revision, files, staging }: Download,
  report: Report,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  const totalBytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let receivedBytes = 0;
  const tell = () =>
    report({
      step: 'download',
      receivedBytes,
      totalBytes,
      receivedFiles: digests.size,
      totalFiles: files.length,
    });
  tell();
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const queue = [...files];
  const worker = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const received = (bytes: number) => {
        receivedBytes += bytes;
        tell();
      };
      digests.set(file.path, await staging.fetch(hub, revision, file, received, both));
      tell();
    }
  };
  const failed = (error: unknown) => stop.abort(error);
  // All end before this does: what one still writes must not meet the next import.
  await Promise.all(Array.from({ length: CONCURRENCY }, () => worker().catch(failed)));
  stop.signal.throwIfAborted();
  return digests;
}

function checkLimits(files: readonly HubFile[], limits: ImportLimits, maxFileBytes: number): void {
  const refuse = (description: string) => invalidArgument('hub_id', description);
  if (files.length > limits.maxFiles) throw refuse(`it holds more than ${limits.maxFiles} files`);
  const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (total > limits.maxBytes) throw refuse(`it holds more than ${limits.maxBytes} bytes`);
  const large = files.find(({ sizeBytes }) => sizeBytes > maxFileBytes);
  if (large) throw refuse(`'${large.path}' has more than ${maxFileBytes} bytes`);
}
