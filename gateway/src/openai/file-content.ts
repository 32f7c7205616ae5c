import { create } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  DownloadArtifactRequestSchema,
  type DownloadArtifactResponse,
  RegistryService,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeResponse } from '../edge/one-port.ts';
import { fileName, ROWS, VERSION } from './files.ts';
import { breakOff, writePart, writer } from './http.ts';

/** `GET /v1/files/{id}/content`: the rows as they were sent, as fast as the client reads. */
export async function sendFileContent(
  { channels }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  id: string,
): Promise<void> {
  const asked = create(DownloadArtifactRequestSchema, { name: fileName(id), version: VERSION, path: ROWS });
  const registry = channels.registry.client(RegistryService);
  const parts = governed.stream(asked, (passed) =>
    registry.downloadArtifact(passed as typeof asked, { context: call }),
  );
  const out = writer(response);
  try {
    for await (const { chunk, file } of parts as AsyncIterable<DownloadArtifactResponse>) {
      if (!out.headersSent) {
        out.writeHead(200, {
          'content-type': 'application/octet-stream',
          ...(file ? { 'content-length': String(file.sizeBytes) } : {}),
          'x-content-type-options': 'nosniff',
        });
      }
      await writePart(response, chunk);
    }
  } catch (cause) {
    if (out.headersSent) breakOff(response);
    throw cause;
  }
  out.end();
}
