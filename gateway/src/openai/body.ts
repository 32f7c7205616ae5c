import { BadRequest } from './errors.ts';

/** A JSON object whose fields are not known yet. */
export type Json = Record<string, unknown>;

/** @throws BadRequest for anything but an object, and for one that would stand in for a prototype. */
export function record(value: unknown, param: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BadRequest(param, 'must be an object');
  }
  if (Object.hasOwn(value, '__proto__')) throw new BadRequest(param, 'has a name that is not allowed');
  return value as Json;
}

/** An object that may be left out or null. */
export function optionalRecord(body: Json, param: string): Json | undefined {
  const value = body[param];
  return value === undefined || value === null ? undefined : record(value, param);
}

export function optionalNumber(body: Json, param: string, low: number, high: number): number | undefined {
  const value = body[param];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < low || value > high) {
    throw new BadRequest(param, `must be a number from ${low} to ${high}`);
  }
  return value;
}

export function optionalInteger(body: Json, param: string, low: number, high: number): number | undefined {
  const value = optionalNumber(body, param, low, high);
  if (value !== undefined && !Number.isInteger(value)) throw new BadRequest(param, 'must be a whole number');
  return value;
}

export function optionalBoolean(body: Json, param: string): boolean {
  const value = body[param];
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw new BadRequest(param, 'must be true or false');
  return value;
}

export function optionalString(body: Json, param: string): string | undefined {
  const value = body[param];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new BadRequest(param, 'must be a string');
  return value;
}

const DEPLOYMENT = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
const MODEL = /^models:\/[a-z0-9]+([._-][a-z0-9]+)*(\/[0-9A-Za-z.+-]{1,64}|@[a-z][a-z0-9_-]{0,63})$/;
const LONGEST_MODEL = 256;

/** Whether a text may name a deployment, or a model as `models:/name/version` or `models:/name@alias`. */
export function isModelName(text: string): boolean {
  if (text.length > LONGEST_MODEL) return false;
  return DEPLOYMENT.test(text) ? text.length <= 64 : MODEL.test(text);
}

export function modelName(body: Json): string {
  const { model } = body;
  if (typeof model !== 'string' || !isModelName(model)) {
    throw new BadRequest('model', 'must be the name of a deployment or model; GET /v1/models lists them');
  }
  return model;
}

/** Where a value of a parameter asks for more than is served, it is refused by name, never ignored. */
export function refuse(body: Json, param: string, served: (value: unknown) => boolean, why: string): void {
  const value = body[param];
  if (value !== undefined && value !== null && !served(value)) throw new BadRequest(param, why);
}

/** No tools and the like: an empty list says no more than none. */
export const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0;
