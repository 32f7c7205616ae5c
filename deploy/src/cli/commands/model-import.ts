import { create } from '@bufbuild/protobuf';
import {
  ImportModelResponseSchema,
  WatchImportModelResponse_Step as Step,
  type WatchImportModelResponse,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { type Command, listOf, reference, type Session, textOf, UsageError } from '../command.ts';
import { bar, bytes, member } from '../render.ts';

/** `hf://owner/name` and `hf://owner/name@revision`. */
function sourceOf(text: string): { folder: string } | { hubId: string; revision: string } {
  if (!text.startsWith('hf://')) return { folder: text };
  const [, hubId, revision = ''] = /^hf:\/\/([^@\s]+)(?:@(\S+))?$/.exec(text) ?? [];
  if (!hubId) throw new UsageError(`'${text}' is not hf://owner/name or hf://owner/name@revision`);
  return { hubId, revision };
}

/** `▇▇▇▇░░ 42 %  download  1.2 GiB of 2.9 GiB, 3 of 8 files` */
function progressLine(message: WatchImportModelResponse): string {
  const { step, receivedBytes, totalBytes, receivedFiles, totalFiles } = message;
  if (totalFiles === 0) return member(Step, step);
  const share = totalBytes === 0n ? 1 : Number(receivedBytes) / Number(totalBytes);
  const percent = `${Math.floor(share * 100)}`.padStart(3);
  const amounts = `${bytes(receivedBytes)} of ${bytes(totalBytes)}, ${receivedFiles} of ${totalFiles} files`;
  return `${bar(share)} ${percent} %  ${member(Step, step)}  ${amounts}`;
}

async function follow(session: Session, out = process.stderr): Promise<WatchImportModelResponse> {
  const [name, source] = session.args;
  const { values, signal } = session;
  const request = {
    name: name!,
    ...sourceOf(source!),
    description: textOf(values, 'description'),
    version: textOf(values, 'version'),
    include: listOf(values, 'include'),
    base: await reference(session, textOf(values, 'base')),
  };
  let last: WatchImportModelResponse | undefined;
  let shown = '';
  try {
    for await (const message of session.clients.registry.watchImportModel({ import: request }, { signal })) {
      last = message;
      const text = progressLine(message);
      if (out.isTTY) out.write(`\r\x1b[2K${text.slice(0, out.columns || 110)}`);
      else if (text !== shown) out.write(`${text}\n`);
      shown = text;
    }
  } finally {
    if (out.isTTY && shown !== '') out.write('\n');
  }
  return last!;
}

export const modelImportCommands: Record<string, Command> = {
  'models import': {
    usage: 'models import NAME SOURCE',
    summary: "Registers a folder below the mesh's import root, or hf://owner/name@revision of its hub.",
    arguments: ['NAME', 'SOURCE'],
    options: {
      description: { type: 'string' },
      version: { type: 'string' },
      base: { type: 'string' },
      include: { type: 'string', multiple: true },
    },
    meaning: {
      description: 'for people',
      version: 'semantic version; the next one without',
      base: 'reference of the base, for an adapter',
      include: 'of a hub, only files that match a pattern; may be given again',
    },
    example:
      'models import tiny hf://onnx-community/tiny@main --include "*.json" --include "onnx/model_q4.onnx*"',
    async run(session) {
      const { version, skipped } = await follow(session);
      const reply = create(ImportModelResponseSchema, { ...(version && { version }), skipped });
      session.print(ImportModelResponseSchema, reply, () =>
        [version!.ref, ...(skipped.length > 0 ? [`left out: ${skipped.join(', ')}`] : [])].join('\n'),
      );
    },
  },
};
