// Where the API server is and who we are to it. Apart from what uses it, for client-node is 900 modules, one second of processor time to load: an
// operator of a folder does without.
import { KubeConfig } from '@kubernetes/client-node';

/** What client-node makes up where it finds nothing. */
const NOTHING_FOUND = 'http://localhost:8080';

/** In-cluster configuration or a kubeconfig; `file` wins over what the environment says. Throws where there is none that can be read. */
export function loadKubeConfig(file?: string): KubeConfig {
  const kubeConfig = new KubeConfig();
  if (file === undefined) kubeConfig.loadFromDefault();
  else kubeConfig.loadFromFile(file);
  if (file === undefined && kubeConfig.getCurrentCluster()?.server === NOTHING_FOUND) {
    throw new Error(
      'no API server is known: there is no KUBECONFIG, no ~/.kube/config and no service account of a pod',
    );
  }
  return kubeConfig;
}
