import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { UploadArtifactRequest } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { withIdleLimit } from '../domain/intake.ts';
import { takeFile } from '../domain/upload.ts';

export const uploadArtifact: Route<'uploadArtifact'> =
  (context) =>
  async (requests, { identity: { tenant }, signal }) => {
    const messages = withIdleLimit(requests, context.config.uploadIdleMs);
    const first = await messages.next();
    if (first.done || first.value.part.case !== 'header') {
      throw invalidArgument('header', 'the first message of an upload is its header');
    }
    const header = first.value.part.value;
    return { file: await takeFile(context, tenant, 'UploadArtifact', header, chunksOf(messages), signal) };
  };

async function* chunksOf(messages: AsyncIterable<UploadArtifactRequest>): AsyncGenerator<Uint8Array> {
  for await (const { part } of messages) {
    if (part.case !== 'chunk') throw invalidArgument('chunk', 'only chunks follow the header of an upload');
    yield part.value;
  }
}
