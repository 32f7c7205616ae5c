import type { CatalogRoute } from '../context.ts';
import { VersionCardEntity } from '../db/catalog-entities.ts';
import { DeploymentUseEntity } from '../db/life-entities.ts';
import { cardMarkdown } from '../domain/card.ts';
import { approvalReply, approvalsOf, checkReply, newestChecks } from '../domain/checks.ts';
import { findVersion } from '../domain/find.ts';
import { formatReference } from '../domain/reference.ts';
import { versionReply } from '../domain/replies.ts';

const MAX_DEPLOYMENTS = 100;

export const getModelCard: CatalogRoute<'getModelCard'> =
  ({ database }) =>
  ({ name, version }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const found = await findVersion(em, tenant, name, version);
      const card = await em.findOne(VersionCardEntity, { versionId: found.id });
      const deployments = await em.find(
        DeploymentUseEntity,
        { tenant, model: formatReference(name, found.version), state: { $ne: 'stopped' } },
        { orderBy: { name: 'asc' }, limit: MAX_DEPLOYMENTS },
      );
      const content = {
        version: await versionReply(em, found),
        facts: card?.facts ?? {},
        checks: (await newestChecks(em, found.id)).map(checkReply),
        approvals: (await approvalsOf(em, found.id)).map(approvalReply),
        deployments: deployments.map((row) => row.name),
        readme: card?.readme ?? '',
      };
      return { card: { ...content, markdown: cardMarkdown(content) } };
    });
