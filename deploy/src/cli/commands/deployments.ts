import {
  DeployResponseSchema,
  type GetDeploymentResponse,
  GetDeploymentResponseSchema,
  ListDeploymentsResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import {
  type Deployment,
  DeploymentSchema,
  DeploymentState,
  EndpointState,
} from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { type Command, numberOf, reference, type Session } from '../command.ts';
import { member, table } from '../render.ts';

export const deploymentCommands: Record<string, Command> = {
  deploy: {
    usage: 'deploy NAME REFERENCE',
    summary: 'Serves a model under a name, and waits until it answers.',
    arguments: ['NAME', 'REFERENCE'],
    options: { replicas: { type: 'string' }, 'no-wait': { type: 'boolean' } },
    meaning: { replicas: 'processes that serve it (1)', 'no-wait': 'only declare it' },
    example: 'deploy chat medical@production --replicas 2',
    async run(session) {
      const reply = await session.clients.balancer.deploy({
        name: session.args[0]!,
        model: await reference(session, session.args[1]!),
        replicas: numberOf(session.values, 'replicas') ?? 0,
        waitReady: session.values['no-wait'] !== true,
      });
      const { name, model, state } = reply.deployment!;
      session.print(
        DeployResponseSchema,
        reply,
        () => `${name} serves ${model} (${member(DeploymentState, state)})`,
      );
    },
  },
  'deployments list': {
    usage: 'deployments list',
    summary: 'Deployments and their replicas.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'deployments list',
    async run(session) {
      const reply = await session.clients.balancer.listDeployments({ pageSize: 100 });
      session.print(ListDeploymentsResponseSchema, reply, () =>
        table(
          ['NAME', 'MODEL', 'STATE', 'READY', 'MESSAGE'],
          reply.deployments.map(({ name, model, state, replicas, endpoints, message }) => [
            name,
            model,
            member(DeploymentState, state),
            `${endpoints.filter((endpoint) => endpoint.state === EndpointState.READY).length}/${replicas}`,
            message,
          ]),
        ),
      );
    },
  },
  'deployments show': {
    usage: 'deployments show NAME',
    summary:
      'A deployment: what is on its way, its canary, how many replicas and why, what it served before.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments show chat',
    async run(session) {
      const reply = await session.clients.balancer.getDeployment({ name: session.args[0]! });
      session.print(GetDeploymentResponseSchema, reply, () => details(reply));
    },
  },
  'deployments scale': {
    usage: 'deployments scale NAME REPLICAS',
    summary: 'Changes how many replicas a deployment has: a number, or a range that follows its load.',
    arguments: ['NAME', 'REPLICAS'],
    options: {},
    meaning: {},
    example: 'deployments scale chat 0-3',
    async run(session) {
      const [name, text] = session.args as [string, string];
      const [least, most = least] = text.split('-').map((each) => numberOf({ REPLICAS: each }, 'REPLICAS')!);
      const range = { minReplicas: least!, maxReplicas: most! };
      const { deployment } = await session.clients.balancer.updateDeployment({ name, ...range });
      told(session, deployment, `is to have ${text} replicas`);
    },
  },
  'deployments pause': {
    usage: 'deployments pause NAME',
    summary: 'Holds a rollout where it is.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments pause chat',
    async run(session) {
      const { deployment } = await session.clients.balancer.pauseDeployment({ name: session.args[0]! });
      told(session, deployment, 'is held');
    },
  },
  'deployments resume': {
    usage: 'deployments resume NAME',
    summary: 'Lets a rollout go on.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments resume chat',
    async run(session) {
      const { deployment } = await session.clients.balancer.resumeDeployment({ name: session.args[0]! });
      told(session, deployment, 'goes on');
    },
  },
  'deployments undo': {
    usage: 'deployments undo NAME',
    summary: 'Goes back to what a deployment served before.',
    arguments: ['NAME'],
    options: { generation: { type: 'string' } },
    meaning: { generation: 'to go back to, of `deployments show` (the one before)' },
    example: 'deployments undo chat',
    async run(session) {
      const generation = BigInt(Math.trunc(numberOf(session.values, 'generation') ?? 0));
      const { deployment } = await session.clients.balancer.undoDeployment({
        name: session.args[0]!,
        generation,
      });
      const { nextModel, model } = deployment!;
      told(session, deployment, `goes back to ${nextModel || model}`);
    },
  },
  'deployments canary': {
    usage: 'deployments canary NAME REFERENCE',
    summary: 'Tries a model beside the one that is served; it is given up by itself when its calls fail.',
    arguments: ['NAME', 'REFERENCE'],
    options: { weight: { type: 'string' } },
    meaning: { weight: 'percent of the calls that it gets (10)' },
    example: 'deployments canary chat medical@candidate --weight 5',
    async run(session) {
      const { deployment } = await session.clients.balancer.startCanary({
        name: session.args[0]!,
        model: await reference(session, session.args[1]!),
        weightPercent: numberOf(session.values, 'weight') ?? 10,
      });
      const { model, weightPercent } = deployment!.canary!;
      told(session, deployment, `gives ${weightPercent} % of its calls to ${model}`);
    },
  },
  'deployments promote': {
    usage: 'deployments promote NAME',
    summary: 'Makes the canary the model that is served.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments promote chat',
    async run(session) {
      const { deployment } = await session.clients.balancer.promoteCanary({ name: session.args[0]! });
      told(session, deployment, `is to serve ${deployment!.nextModel || deployment!.model}`);
    },
  },
  'deployments end-canary': {
    usage: 'deployments end-canary NAME',
    summary: 'Gives the canary up.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments end-canary chat',
    async run(session) {
      const { deployment } = await session.clients.balancer.endCanary({ name: session.args[0]! });
      told(session, deployment, `serves ${deployment!.model} alone`);
    },
  },
  'deployments stop': {
    usage: 'deployments stop NAME',
    summary: 'Ends a deployment; running requests are answered first.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'deployments stop chat',
    async run(session) {
      await session.clients.balancer.stopDeployment({ name: session.args[0]! });
      session.line(
        session.json ? JSON.stringify({ stopped: session.args[0] }) : `${session.args[0]} is stopped`,
      );
    },
  },
};

/** Tells what has become of a deployment. */
function told(session: Session, deployment: Deployment | undefined, text: string): void {
  session.print(DeploymentSchema, deployment!, () => `${deployment!.name} ${text}`);
}

function details({ deployment, history }: GetDeploymentResponse): string {
  const { name, model, state, replicas, minReplicas, maxReplicas, message } = deployment!;
  const { alias, nextModel, paused, canary, canaryOutcome, autoscaling, lastReplacement } = deployment!;
  const lines = [
    `${name} serves ${model}${alias ? ` (${alias})` : ''}: ${member(DeploymentState, state)}${message ? `, ${message}` : ''}`,
    `replicas: ${replicas} of ${minReplicas} to ${maxReplicas}${autoscaling?.reason ? ` (${autoscaling.reason})` : ''}`,
  ];
  if (nextModel) lines.push(`on its way: ${nextModel}${paused ? ' (held)' : ''}`);
  if (canary) {
    const { calls = 0n, errors = 0n } = canary.canary ?? {};
    lines.push(`canary: ${canary.model}, ${canary.weightPercent} %, ${errors} of ${calls} calls failed`);
  }
  if (canaryOutcome) lines.push(`last canary: ${canaryOutcome}`);
  if (lastReplacement) lines.push(`last replacement: ${lastReplacement}`);
  const rows = history.map((each) => [String(each.generation), each.model, each.reason]);
  return `${lines.join('\n')}\n\n${table(['GENERATION', 'MODEL', 'REASON'], rows)}`;
}
