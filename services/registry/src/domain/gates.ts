import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Version } from '../db/entities.ts';
import { type StoredPolicy, VersionApprovalEntity, VersionCheckEntity } from '../db/life-entities.ts';
import { originsOf } from './origins.ts';
import { policyOf } from './policies.ts';
import { formatReference } from './reference.ts';
import { stageReached } from './stage-names.ts';

/** A gate, whether a version passes it, and what was found and is asked for. */
export type Gate = { gate: string; passed: boolean; description: string };

/**
 * How a READY version stands before every gate of an alias. Any alias asks that the version is not at its end
 * (archived, or past its sunset); a protected one asks for what its policy names.
 */
export async function checkGates(em: EntityManager, version: Version, alias: string): Promise<Gate[]> {
  const policy = await policyOf(em, version.tenant, version.name, alias);
  const life = lifeGate(version);
  if (!policy) return [life];
  return [
    life,
    ...stageGate(version, policy),
    ...metricGates(version, policy),
    ...(await checksGates(em, version, policy)),
    ...(await licenseGate(em, version, policy)),
    ...(await approvalGate(em, version, policy, alias)),
  ];
}

function lifeGate(version: Version): Gate {
  const { stage, sunsetMs, successor } = version;
  const gate = 'life';
  if (stage === 'archived') {
    return { gate, passed: false, description: 'the version is archived; set another stage first' };
  }
  if (sunsetMs && sunsetMs <= Date.now()) {
    const instead = successor ? `; take ${successor}` : '';
    const since = new Date(sunsetMs).toISOString();
    return { gate, passed: false, description: `the version is past its sunset of ${since}${instead}` };
  }
  return { gate, passed: true, description: 'the version is neither archived nor past a sunset' };
}

function stageGate({ stage }: Version, { minStage }: StoredPolicy): Gate[] {
  if (minStage === '') return [];
  const passed = stageReached(stage, minStage);
  return [
    { gate: 'stage', passed, description: `the stage is ${stage}; ${minStage} or further is asked for` },
  ];
}

function metricGates(version: Version, policy: StoredPolicy): Gate[] {
  return policy.metrics.map(({ metric, min, max }) => {
    const value = version.metrics[metric];
    const wanted = [
      ...(min === undefined ? [] : [`at least ${min}`]),
      ...(max === undefined ? [] : [`at most ${max}`]),
    ].join(' and ');
    const passed =
      value !== undefined && (min === undefined || value >= min) && (max === undefined || value <= max);
    const found = value === undefined ? `the version has no metric ${metric}` : `${metric} is ${value}`;
    return { gate: `metrics.${metric}`, passed, description: `${found}; ${wanted} is asked for` };
  });
}

async function checksGates(em: EntityManager, version: Version, policy: StoredPolicy): Promise<Gate[]> {
  const gates: Gate[] = [];
  for (const checkName of policy.checks) {
    const newest = await em.findOne(
      VersionCheckEntity,
      { versionId: version.id, checkName },
      { orderBy: { id: 'desc' } },
    );
    const description = !newest
      ? `the check '${checkName}' was not recorded; RecordCheck does that`
      : `the check '${checkName}' ${newest.passed ? 'passed' : 'failed'}, as ${newest.recordedBy} recorded`;
    gates.push({ gate: `checks.${checkName}`, passed: newest?.passed ?? false, description });
  }
  return gates;
}

async function licenseGate(em: EntityManager, version: Version, policy: StoredPolicy): Promise<Gate[]> {
  if (policy.licenses.length === 0) return [];
  const allowed = new Set(policy.licenses.map(normalLicense));
  const wrong = [version, ...(await originsOf(em, version))].filter(
    ({ license }) => !allowed.has(normalLicense(license)),
  );
  const names = wrong
    .slice(0, 10)
    .map(({ name, version: number, license }) => `${formatReference(name, number)} has ${license || 'none'}`);
  const asked = `licences asked for: ${policy.licenses.join(', ')}`;
  const description = wrong.length === 0 ? `all have one of the ${asked}` : `${names.join(', ')}; ${asked}`;
  return [{ gate: 'licenses', passed: wrong.length === 0, description }];
}

/** SPDX identifiers are compared without regard to case (SPDX 2.3, annex D); hubs write them in lower case. */
const normalLicense = (license: string) => license.trim().toLowerCase();

async function approvalGate(
  em: EntityManager,
  version: Version,
  policy: StoredPolicy,
  alias: string,
): Promise<Gate[]> {
  if (policy.approvals === 0) return [];
  const approvals = await em.find(
    VersionApprovalEntity,
    { versionId: version.id, alias },
    { orderBy: { approvedMs: 'asc' } },
  );
  const people = approvals.map(({ approvedBy }) => approvedBy).join(', ');
  const found = `${approvals.length} approved it for '${alias}'${people && ` (${people})`}`;
  const passed = approvals.length >= policy.approvals;
  return [{ gate: 'approvals', passed, description: `${found}; ${policy.approvals} are asked for` }];
}
