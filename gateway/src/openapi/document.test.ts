import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';
import { publicMethods } from '../edge/services.ts';
import { openApiDocument } from './document.ts';

const document = openApiDocument() as {
  openapi: string;
  paths: Record<string, { post?: { operationId: string } }>;
  components: { schemas: Record<string, { properties: Record<string, object> }> };
};

test('it is a document of OpenAPI 3.1, and its schemas are schemas', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  // The schema of the OpenAPI initiative itself (spec.openapis.org/oas/3.1/schema, Apache-2.0).
  const schema = JSON.parse(readFileSync(join(import.meta.dirname, 'openapi-3.1.schema.json'), 'utf8'));
  const isValid = ajv.validate(schema, JSON.parse(JSON.stringify(document)));
  expect([isValid, ajv.errors]).toEqual([true, null]);
  expect(ajv.validate(schema, { ...document, paths: { pets: {} } })).toBe(false);
  const { schemas } = document.components;
  for (const [name, each] of Object.entries(schemas))
    expect([name, ajv.validateSchema(each)]).toEqual([name, true]);
});

test('every public method has its path, and every reference leads somewhere', () => {
  expect(document.openapi).toBe('3.1.0');
  for (const name of publicMethods.keys()) expect(document.paths[`/${name}`]?.post?.operationId).toBe(name);
  const references = JSON.stringify(document).match(/#\/components\/schemas\/[^"]+/g) ?? [];
  expect(references.length).toBeGreaterThan(publicMethods.size);
  const known = new Set(Object.keys(document.components.schemas));
  for (const reference of new Set(references)) expect(known).toContain(reference.split('/').at(-1));
});

test('fields are as ProtoJSON writes them, with the bounds of the contract', () => {
  const request = document.components.schemas['landfall.gateway.v1.CreateKeyRequest']!.properties;
  expect(request.name).toEqual({ type: 'string', minLength: 1, maxLength: 128 });
  expect(request.expireTime).toEqual({ type: 'string', format: 'date-time' });
  expect(request.role).toMatchObject({ type: 'string', enum: expect.arrayContaining(['ROLE_ADMIN']) });
  expect(request.groups).toMatchObject({ type: 'array', maxItems: 32, items: { type: 'string' } });
  const quota = document.components.schemas['landfall.gateway.v1.Quota']!.properties;
  expect(quota.tokensPerMonth).toMatchObject({ type: 'string', format: 'int64' });
  const prompt = document.components.schemas['landfall.registry.v1.ListModelsRequest']!.properties;
  expect(prompt.pageSize).toEqual({ type: 'integer', format: 'int32', minimum: 0, maximum: 500 });
});

test('routes that are no RPC are told of by the paths that the gateway answers', () => {
  const routes = readFileSync(join(import.meta.dirname, '../openai/routes.ts'), 'utf8');
  const served = [...routes.matchAll(/'(\/v1\/[a-z_/.]+[a-z])'/g)].map(([, path]) => path!);
  expect(served.length).toBeGreaterThan(3);
  for (const path of served) expect(Object.keys(document.paths)).toContain(path);
});
