// The webhook as it is registered.
import { api } from './kube.ts';

const WEBHOOK = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/breakwater-injector';

/** As the chart value webhook.failurePolicy would set it. */
export async function setFailurePolicy(failurePolicy: 'Fail' | 'Ignore'): Promise<void> {
  const patch = [{ op: 'replace', path: '/webhooks/0/failurePolicy', value: failurePolicy }];
  await api('PATCH', WEBHOOK, patch, 'application/json-patch+json');
}
