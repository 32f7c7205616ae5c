import type { MessageInitShape } from '@bufbuild/protobuf';
import type { OutputConstraintSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { type Json, optionalRecord, optionalString, record, refuse } from './body.ts';
import { BadRequest } from './errors.ts';

type Kind = NonNullable<MessageInitShape<typeof OutputConstraintSchema>['kind']>;

/** A language that the output is held to, and the parameter that asked for it. */
export interface Constraint {
  param: string;
  kind: Kind;
}

/**
 * `response_format` of OpenAI, and `guided_json`, `guided_regex`, `guided_choice` of vLLM; at most one. A schema
 * holds whether it is marked strict or not.
 * @throws BadRequest that names the parameter.
 */
export function outputConstraint(body: Json): Constraint | undefined {
  refuse(body, 'guided_grammar', () => false, 'grammars are not served; give guided_regex or a schema');
  const given = [
    responseFormat(body),
    guidedJson(body.guided_json),
    guidedRegex(body),
    guidedChoice(body.guided_choice),
  ].filter((constraint) => constraint !== undefined);
  const [first, second] = given;
  if (second) throw new BadRequest(second.param, `can not be given beside ${first!.param}`);
  return first;
}

function responseFormat(body: Json): Constraint | undefined {
  const param = 'response_format';
  const format = optionalRecord(body, param);
  if (!format || format.type === 'text') return undefined;
  if (format.type === 'json_object') return { param, kind: { case: 'jsonObject', value: true } };
  if (format.type !== 'json_schema')
    throw new BadRequest(`${param}.type`, 'must be text, json_object or json_schema');
  const { schema } = record(format.json_schema, `${param}.json_schema`);
  const path = `${param}.json_schema.schema`;
  return { param, kind: jsonSchema(record(schema, path), path) };
}

function guidedJson(value: unknown): Constraint | undefined {
  const param = 'guided_json';
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return { param, kind: { case: 'jsonSchema', value } };
  return { param, kind: jsonSchema(record(value, param), param) };
}

function jsonSchema(schema: Json, param: string): Kind {
  try {
    return { case: 'jsonSchema', value: JSON.stringify(schema) };
  } catch {
    // What came as JSON can be written again unless it is deeper than the stack.
    throw new BadRequest(param, 'is nested too deeply');
  }
}

function guidedRegex(body: Json): Constraint | undefined {
  const param = 'guided_regex';
  const value = optionalString(body, param);
  return value === undefined ? undefined : { param, kind: { case: 'regex', value } };
}

function guidedChoice(value: unknown): Constraint | undefined {
  const param = 'guided_choice';
  if (value === undefined || value === null) return undefined;
  const isList = Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'string');
  if (!isList) throw new BadRequest(param, 'must be a list of texts');
  return { param, kind: { case: 'choice', value: { options: value } } };
}
