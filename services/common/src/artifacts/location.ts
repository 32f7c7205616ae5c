import { fileURLToPath } from 'node:url';
import { ConfigError, type Env } from '../config/env.ts';
import { DiskStore } from './disk-store.ts';
import { S3Store } from './s3-store.ts';
import type { ArtifactStore } from './store.ts';

/** A bucket, and where in it and at which server. */
export type S3Location = {
  bucket: string;
  /** '' or with a '/' at its end. */
  prefix: string;
  /** '' for AWS. */
  endpoint: string;
  region: string;
  /** Whether the bucket stands in the path and not in the host name, as most servers beside AWS want it. */
  pathStyle: boolean;
};

/** Where artifacts are kept. */
export type ArtifactLocation = { kind: 'disk'; folder: string } | ({ kind: 's3' } & S3Location);

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const OPTIONS = ['endpoint', 'region', 'path_style'];

/**
 * A variable with `file:///folder` or `s3://bucket/prefix?endpoint=http://host:port&region=...&path_style=true`. With an
 * endpoint path_style is true unless it says otherwise; the region is us-east-1 unless given or in AWS_REGION.
 * Throws ConfigError that names the variable, and never the value: it may hold a password.
 * @param folder for blobs where the variable is not set
 */
export function artifactLocationVar(env: Env, name: string, folder: string): ArtifactLocation {
  const url = env[name];
  return url ? parseArtifactLocation(name, url, env.AWS_REGION || 'us-east-1') : { kind: 'disk', folder };
}

function parseArtifactLocation(name: string, url: string, region: string): ArtifactLocation {
  const wrong = (why: string) => new ConfigError(name, why);
  if (!URL.canParse(url)) throw wrong('is no URL; give file:///folder or s3://bucket/prefix?endpoint=...');
  const parsed = new URL(url);
  if (parsed.protocol === 'file:') {
    if (parsed.host !== '') throw wrong('names a file on another host; write file:///folder');
    return { kind: 'disk', folder: fileURLToPath(parsed) };
  }
  if (parsed.protocol !== 's3:') throw wrong('is no URL that begins with file:/// or s3://');
  const bucket = parsed.hostname;
  if (!BUCKET.test(bucket)) throw wrong('has no bucket name behind s3://');
  if (parsed.username !== '' || parsed.password !== '') {
    throw wrong('holds credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead');
  }
  const unknown = [...parsed.searchParams.keys()].find((key) => !OPTIONS.includes(key));
  if (unknown) throw wrong(`has an option that is not one of ${OPTIONS.join(', ')}`);
  const endpoint = parsed.searchParams.get('endpoint') ?? '';
  if (endpoint !== '' && !/^https?:$/.test(URL.canParse(endpoint) ? new URL(endpoint).protocol : '')) {
    throw wrong('has an endpoint that is no http:// or https:// URL');
  }
  const style = parsed.searchParams.get('path_style') ?? String(endpoint !== '');
  if (style !== 'true' && style !== 'false') throw wrong('has a path_style that is neither true nor false');
  const path = decodeURIComponent(parsed.pathname).replace(/^\/+|\/+$/g, '');
  return {
    kind: 's3',
    bucket,
    prefix: path === '' ? '' : `${path}/`,
    endpoint,
    region: parsed.searchParams.get('region') ?? region,
    pathStyle: style === 'true',
  };
}

/** @param spool folder for what an object store needs on disk for a while */
export async function openArtifactStore(location: ArtifactLocation, spool: string): Promise<ArtifactStore> {
  return location.kind === 'disk' ? DiskStore.open(location.folder) : S3Store.open(location, spool);
}
