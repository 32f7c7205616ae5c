import { randomUUID } from 'node:crypto';
import { writer } from '../openai/http.ts';
import type { EdgeHandler, EdgeResponse } from './one-port.ts';

/** Answers are data: nothing in them is to be run, framed, guessed at or kept. */
export const ANSWER_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};
const A_YEAR = 'max-age=31536000';

/**
 * Headers that every answer has, whatever gives it; what an answer says of its own goes before. `x-request-id` becomes
 * the trace's id where a call gets as far as to have one.
 * @param isSecure whether the door is open by TLS alone
 */
export function withSecurityHeaders(handler: EdgeHandler, isSecure: boolean): EdgeHandler {
  return (request, response) => {
    for (const [name, value] of Object.entries(ANSWER_HEADERS)) writer(response).setHeader(name, value);
    if (isSecure) writer(response).setHeader('strict-transport-security', A_YEAR);
    setRequestId(response, randomUUID());
    handler(request, response);
  };
}

export const setRequestId = (response: EdgeResponse, id: string): unknown =>
  writer(response).setHeader('x-request-id', id);
