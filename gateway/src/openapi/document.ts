import { type DescMethod, getOption } from '@bufbuild/protobuf';
import { MethodOptions_IdempotencyLevel as Idempotency } from '@bufbuild/protobuf/wkt';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { publicMethods } from '../edge/services.ts';
import { type Schema, Schemas } from './json-schema.ts';

const JSON_TYPE = 'application/json';
/** Messages of a stream have a flag and a length before each (Connect's envelopes). */
const STREAM_TYPE = 'application/connect+json';

const OPENAI: readonly (readonly [verb: string, path: string, summary: string, type?: string])[] = [
  ['post', '/v1/chat/completions', 'OpenAI: a chat, whole or as server-sent events'],
  ['post', '/v1/completions', 'OpenAI: a text to go on from'],
  ['post', '/v1/embeddings', 'OpenAI: vectors of texts'],
  ['get', '/v1/models', 'OpenAI: deployments and adapters'],
  ['get', '/v1/models/{id}', 'OpenAI: one of them'],
  ['post', '/v1/files', 'OpenAI: rows for fine-tuning', 'multipart/form-data'],
  ['get', '/v1/files', 'OpenAI: files'],
  ['get', '/v1/files/{id}', 'OpenAI: a file'],
  ['delete', '/v1/files/{id}', 'OpenAI: deletes a file'],
  ['get', '/v1/files/{id}/content', 'OpenAI: what a file holds'],
  ['post', '/v1/fine_tuning/jobs', 'OpenAI: a fine-tuning job'],
  ['get', '/v1/fine_tuning/jobs', 'OpenAI: fine-tuning jobs'],
  ['get', '/v1/fine_tuning/jobs/{id}', 'OpenAI: a fine-tuning job'],
  ['get', '/v1/fine_tuning/jobs/{id}/events', 'OpenAI: what happened in it'],
  ['post', '/v1/fine_tuning/jobs/{id}/cancel', 'OpenAI: ends it'],
  ['get', '/v1/openapi.json', 'This document'],
  ['get', '/v1/events', 'Events of the tenant as server-sent events'],
];

let made: object | undefined;

/** The OpenAPI 3.1 document of all that the gateway serves, made from the contracts. */
export function openApiDocument(): object {
  made ??= build();
  return made;
}

function build(): object {
  const schemas = new Schemas();
  const error = {
    type: 'object',
    properties: {
      code: { type: 'string' },
      message: { type: 'string' },
      details: { type: 'array', items: {} },
    },
  };
  const paths: Record<string, Schema> = {};
  for (const [name, method] of publicMethods) {
    const post = operation(name, method, schemas);
    paths[`/${name}`] = isAskedByGet(method) ? { post, get: getOperation(post) } : { post };
  }
  for (const [verb, path, summary, type = JSON_TYPE] of OPENAI) {
    const body = { content: { [type]: { schema: { type: 'object' } } }, required: true };
    const responses = { 200: { description: 'The answer' } };
    const item = { summary, tags: ['openai'], ...(verb === 'post' ? { requestBody: body } : {}), responses };
    const parameters = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      ...{ name, in: 'path', required: true, schema: { type: 'string' } },
    }));
    const named = parameters.length > 0 ? { parameters } : {};
    paths[path] = { ...paths[path], [verb]: { ...item, ...named } };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Landfall',
      version: '1.0.0',
      description: 'All methods as Connect serves them over HTTP.',
    },
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: { ...schemas.all, 'connect.Error': error },
    },
  };
}

/** Connect takes calls without side effects by GET, too. */
const isAskedByGet = ({ methodKind, idempotency }: DescMethod): boolean =>
  methodKind === 'unary' && idempotency === Idempotency.NO_SIDE_EFFECTS;

function getOperation({ requestBody, operationId, ...same }: Schema): Schema {
  const { content } = requestBody as { content: Record<string, object> };
  const query = (name: string, description: string, how: object) => ({
    ...{ name, in: 'query', required: true, description },
    ...how,
  });
  return {
    ...same,
    operationId: `${operationId}:get`,
    parameters: [
      query('connect', 'The protocol', { schema: { const: 'v1' } }),
      query('encoding', 'Of the message', { schema: { const: 'json' } }),
      query('message', 'The request, as POST has it in its body', { content }),
    ],
  };
}

function operation(name: string, method: DescMethod, schemas: Schemas): Schema {
  const type = method.methodKind === 'unary' ? JSON_TYPE : STREAM_TYPE;
  const failed = { $ref: '#/components/schemas/connect.Error' };
  return {
    operationId: name,
    tags: [method.parent.typeName],
    'x-least-role': Role[getOption(method, roleOption)]?.toLowerCase(),
    'x-method-kind': method.methodKind,
    'x-safe-to-repeat':
      method.idempotency !== undefined && method.idempotency !== Idempotency.IDEMPOTENCY_UNKNOWN,
    requestBody: { required: true, content: { [type]: { schema: schemas.of(method.input) } } },
    responses: {
      200: { description: 'The answer', content: { [type]: { schema: schemas.of(method.output) } } },
      default: { description: 'Why not', content: { [JSON_TYPE]: { schema: failed } } },
    },
  };
}
