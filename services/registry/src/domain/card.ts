import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { ModelCard } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { Kind, Stage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { stringify } from 'yaml';

/** What a card says, without its Markdown. */
export type CardContent = Omit<ModelCard, 'markdown' | '$typeName' | '$unknown' | 'version'> & {
  version: NonNullable<ModelCard['version']>;
};

const KINDS: Record<Kind, string> = {
  [Kind.UNSPECIFIED]: '',
  [Kind.BASE]: 'base model',
  [Kind.ADAPTER]: 'adapter',
  [Kind.DATASET]: 'data set',
};

/** The card as Markdown with YAML front matter. Only what is known is said. */
export function cardMarkdown(card: CardContent): string {
  const { version, facts, readme } = card;
  const about = [
    `A ${KINDS[version.kind]}, ${version.ref}, ${size(version.sizeBytes)}, stage ` +
      `${Stage[version.stage].toLowerCase()}.`,
    ...(version.description ? [version.description] : []),
    ...deprecation(card),
  ];
  const sections: [string, string][] = [
    ['Facts', table(['', ''], Object.entries(facts))],
    ['Metrics', table(['Metric', 'Value', 'Base'], metricRows(version.metrics))],
    ['Made from', list(origins(card))],
    ['Checks', table(['Check', 'Outcome', 'Detail', 'By'], checkRows(card))],
    [
      'Approvals',
      list(
        card.approvals.map(
          ({ alias, approvedBy, comment }) => `for \`${alias}\` by ${approvedBy}${comment && `: ${comment}`}`,
        ),
      ),
    ],
    [
      'Used by',
      list([
        ...version.aliases.map((alias) => `\`models:/${version.name}@${alias}\``),
        ...card.deployments.map((name) => `\`deployments:/${name}\``),
      ]),
    ],
    [
      'Files',
      table(
        ['Path', 'Bytes', 'Digest'],
        (version.manifest?.files ?? []).map(({ path, sizeBytes, digest }) => [path, `${sizeBytes}`, digest]),
      ),
    ],
    ['README', readme],
  ];
  const body = sections.filter(([, text]) => text !== '').map(([title, text]) => `## ${title}\n\n${text}`);
  return `${[frontMatter(card), `# ${version.name} ${version.version}`, ...about, ...body].join('\n\n')}\n`;
}

/** As model cards of hubs have it. */
function frontMatter({ version }: CardContent): string {
  const data = {
    ...(version.license && { license: version.license }),
    ...(version.tags.length > 0 && { tags: version.tags }),
    ...(version.lineage?.base && { base_model: version.lineage.base }),
    ...(version.lineage?.datasets.length && { datasets: version.lineage.datasets.map(({ ref }) => ref) }),
    ref: version.ref,
    digest: version.digest,
  };
  return `---\n${stringify(data)}---`;
}

function deprecation({ version: { deprecation: told } }: CardContent): string[] {
  if (!told) return [];
  const parts = [
    '**Deprecated.**',
    told.sunsetTime ? `Takes no alias from ${timestampDate(told.sunsetTime).toISOString()} on.` : '',
    told.successor ? `Take ${told.successor} instead.` : '',
    told.reason,
  ];
  return [parts.filter((part) => part !== '').join(' ')];
}

/** A metric beside what the base reached in it (`bleu` beside `base_bleu`). */
function metricRows(metrics: Record<string, number>): string[][] {
  const names = Object.keys(metrics).sort();
  const isBase = (name: string) => name.startsWith('base_') && names.includes(name.slice('base_'.length));
  return names
    .filter((name) => !isBase(name))
    .map((name) => {
      const base = metrics[`base_${name}`];
      return [name, `${metrics[name]}`, base === undefined ? '' : `${base}`];
    });
}

function origins({ version: { lineage, createdBy } }: CardContent): string[] {
  if (!lineage) return [];
  const { base, parent, source, jobId, method, datasets, prompts } = lineage;
  return [
    ...(base ? [`base \`${base}\``] : []),
    ...(parent ? [`tuned on from \`${parent}\``] : []),
    ...(source ? [`imported from \`${source}\``] : []),
    ...datasets.map(({ ref, role, digest }) => `${role || 'train'} \`${ref}\`${digest && ` (${digest})`}`),
    ...prompts.map(({ ref, role }) => `${role || 'prompt'} \`${ref}\``),
    ...(jobId ? [`job \`${jobId}\`${method && `, ${method}`}`] : []),
    ...(createdBy ? [`created by ${createdBy}`] : []),
  ];
}

function checkRows({ checks }: CardContent): string[][] {
  return checks.map(({ check, passed, detail, recordedBy }) => [
    check,
    passed ? 'passed' : 'failed',
    detail,
    recordedBy,
  ]);
}

function list(lines: readonly string[]): string {
  return lines.map((line) => `- ${line.replace(/\s+/g, ' ')}`).join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replace(/\s+/g, ' ').replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

function size(bytes: bigint): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = Number(bytes);
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
