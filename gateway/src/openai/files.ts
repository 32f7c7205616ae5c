import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  DeleteVersionRequestSchema,
  LifeCycleService,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { Kind, type Model } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  CreateModelRequestSchema,
  type CreateModelResponse,
  CreateModelResponseSchema,
  GetModelRequestSchema,
  type GetModelResponse,
  RegistryService,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { BadRequest } from './errors.ts';
import { readBytes, sendJson } from './http.ts';

export const FILE = /^file-[0-9a-f]{24}$/;
export const VERSION = '1.0.0';
/** The registry takes so much in one message. */
const CHUNK_BYTES = 1024 * 1024;
export const ROWS = 'rows.jsonl';

/** The data set behind a file's id. @throws BadRequest */
export function datasetOf(id: unknown, param: string): string {
  if (typeof id !== 'string' || !FILE.test(id)) throw new BadRequest(param, 'must be the id of a file');
  return `models:/${id}/${VERSION}`;
}

/** `POST /v1/files`: rows for fine-tuning become a data set of the registry, of which the file's id is the name. */
export async function createFile(
  context: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
): Promise<void> {
  const { name: filename, content } = await readForm(request, context.config.maxMessageBytes);
  const name = `file-${randomBytes(12).toString('hex')}`;
  const labels = { filename, purpose: 'fine-tune', bytes: String(content.length) };
  const asked = create(CreateModelRequestSchema, { name, kind: Kind.DATASET, labels });
  const registry = context.channels.registry.client(RegistryService);
  const options = { context: call };
  const reply = (await governed.unary(asked, async (passed) => {
    const { model } = await registry.createModel(passed as typeof asked, options);
    await registry.createVersion({ name, version: VERSION }, options);
    await registry.uploadArtifact(parts(name, content), options);
    await registry.commitVersion({ name, version: VERSION }, options);
    return create(CreateModelResponseSchema, { model: { ...model!, latestVersion: VERSION } });
  })) as CreateModelResponse;
  sendJson(response, 200, fileBody(reply.model!));
}

async function* parts(name: string, content: Buffer) {
  const header = { name, version: VERSION, path: ROWS, sizeBytes: BigInt(content.length) };
  yield { part: { case: 'header' as const, value: header } };
  for (let at = 0; at < content.length; at += CHUNK_BYTES)
    yield { part: { case: 'chunk' as const, value: content.subarray(at, at + CHUNK_BYTES) } };
}

/** `GET /v1/files/{id}`. */
export async function getFile(
  { channels }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  id: string,
): Promise<void> {
  const asked = create(GetModelRequestSchema, { name: fileName(id) });
  const registry = channels.registry.client(RegistryService);
  const reply = await governed.unary(asked, async (passed) => {
    const found = await registry.getModel(passed as typeof asked, { context: call });
    if (!isThere(found.model!)) throw noFile();
    return found;
  });
  sendJson(response, 200, fileBody((reply as GetModelResponse).model!));
}

/**
 * `DELETE /v1/files/{id}`: the data set's version is deleted, and can be restored in the registry for a while.
 * @throws LandfallError NOT_FOUND, FAILED_PRECONDITION while something was made from it
 */
export async function deleteFile(
  { channels }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  id: string,
): Promise<void> {
  const asked = create(DeleteVersionRequestSchema, { name: fileName(id), version: VERSION });
  const registry = channels.registry.client(RegistryService);
  const life = channels.registry.client(LifeCycleService);
  await governed.unary(asked, async (passed) => {
    const { model } = await registry.getModel({ name: id }, { context: call });
    if (!isThere(model!)) throw noFile();
    return life.deleteVersion(passed as typeof asked, { context: call });
  });
  sendJson(response, 200, { id, object: 'file', deleted: true });
}

const noFile = () => notFound('there is no such file');

/** The data set of a file's id. @throws LandfallError NOT_FOUND for what is no id */
export function fileName(id: string): string {
  if (!FILE.test(id)) throw noFile();
  return id;
}

/** A data set without a version was deleted, or is on its way here. */
export const isThere = ({ name, latestVersion }: Model): boolean => FILE.test(name) && latestVersion !== '';

export function fileBody({ name, labels, createTime, latestVersion }: Model) {
  return {
    id: name,
    object: 'file',
    bytes: Number(labels.bytes ?? 0),
    created_at: createTime ? Math.floor(timestampMs(createTime) / 1000) : 0,
    filename: labels.filename ?? ROWS,
    purpose: labels.purpose ?? 'fine-tune',
    status: latestVersion ? 'processed' : 'uploaded',
  };
}

/** The file of a form. @throws BadRequest */
async function readForm(request: EdgeRequest, maxBytes: number): Promise<{ name: string; content: Buffer }> {
  const type = request.headers['content-type'] ?? '';
  const body = await readBytes(request, maxBytes);
  let form: FormData;
  try {
    form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData();
  } catch {
    throw new BadRequest('body', 'must be multipart/form-data with file and purpose');
  }
  const file = form.get('file');
  if (form.get('purpose') !== 'fine-tune') throw new BadRequest('purpose', 'must be fine-tune');
  if (!file || typeof file === 'string' || file.size === 0)
    throw new BadRequest('file', 'must be a file of rows');
  return { name: file.name.slice(0, 256), content: Buffer.from(await file.arrayBuffer()) };
}
