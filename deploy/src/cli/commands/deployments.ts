import {
  DeployResponseSchema,
  ListDeploymentsResponseSchema,
} from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { DeploymentState, EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { type Command, numberOf, reference } from '../command.ts';
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
  'deployments scale': {
    usage: 'deployments scale NAME REPLICAS',
    summary: 'Changes how many replicas a deployment has.',
    arguments: ['NAME', 'REPLICAS'],
    options: {},
    meaning: {},
    example: 'deployments scale chat 3',
    async run(session) {
      const replicas = numberOf({ REPLICAS: session.args[1]! }, 'REPLICAS')!;
      await session.clients.balancer.updateDeployment({ name: session.args[0]!, replicas });
      session.line(session.json ? JSON.stringify({ replicas }) : `${session.args[0]} is to have ${replicas}`);
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
