import type { PeerCertificate, TLSSocket } from 'node:tls';
import type { EdgeRequest } from '../edge/one-port.ts';

const MOST_NAMES = 32;

const read = new WeakMap<object, readonly string[]>();

/** The names of the certificate that a request's connection came with, read once a connection. */
export function certificateOf(request: EdgeRequest): readonly string[] {
  const socket = 'stream' in request ? request.stream.session?.socket : request.socket;
  if (!socket || !('encrypted' in socket)) return [];
  const names = read.get(socket) ?? certificateNames(socket as TLSSocket);
  read.set(socket, names);
  return names;
}

/**
 * What the client certificate of a connection says of its bearer: URIs and DNS names of its subjectAltName, then its
 * whole subject (`CN=ci,O=acme`). Empty where there is none, or no authority vouches for it.
 */
function certificateNames(socket: TLSSocket): string[] {
  if (!socket.authorized) return [];
  const { subject, subjectaltname = '' } = socket.getPeerCertificate() as Partial<PeerCertificate>;
  // Node puts names that hold a comma or a quote in quotes, as JSON: they are no names that are kept here.
  const alternatives = subjectaltname.split(', ').filter((name) => /^(URI|DNS):[^"\s]+$/.test(name));
  const uris = alternatives.filter((name) => name.startsWith('URI:'));
  const hosts = alternatives.filter((name) => name.startsWith('DNS:'));
  return [...uris, ...hosts, ...(subject ? [distinguishedName(subject)] : [])].slice(0, MOST_NAMES);
}

/** `CN=ci,O=acme`: fields in the certificate's order, each value once more where there are several. */
function distinguishedName(subject: PeerCertificate['subject']): string {
  return Object.entries(subject)
    .flatMap(([field, value]) => [value].flat().map((each) => `${field}=${escaped(String(each))}`))
    .join(',');
}

const escaped = (value: string): string => value.replace(/[\\,=]/g, (sign) => `\\${sign}`);
