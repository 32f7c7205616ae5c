import { createHash } from 'node:crypto';
import type { Route } from '../context.ts';
import { takeFile } from '../domain/upload.ts';

export const putArtifact: Route<'putArtifact'> =
  (context) =>
  async ({ header, content }, { identity: { tenant }, signal }) => {
    // The whole content is here: its digest tells a repeat even where the client gave none.
    const digest = header!.digest || `sha256:${createHash('sha256').update(content).digest('hex')}`;
    const chunks = (async function* () {
      yield content;
    })();
    return { file: await takeFile(context, tenant, 'PutArtifact', { ...header!, digest }, chunks, signal) };
  };
