import subprocess,json,http.client,time,os,threading,sys,signal,re
from concurrent.futures import ThreadPoolExecutor
BIN=os.environ.get('BIN','/tmp/brk/identity-head')
class Svc:
    def __init__(s,url,*flags,log='warn,sqlx=debug',wait=True):
        s.logf=open(f'/tmp/brk/svc-{os.getpid()}-{time.time_ns()}.log','w+')
        env={k:v for k,v in os.environ.items() if not k.startswith(('DATABASE','DB_'))}
        s.p=subprocess.Popen([BIN,'serve','--database-url',url,'--grpc-addr','127.0.0.1:0','--http-addr','127.0.0.1:0','--log',log+',identity=info','--log-format','json',*flags],stderr=s.logf,stdout=s.logf,env=env,cwd='/tmp/brk')
        s.port=None
        for _ in range(300):
            t=s.log()
            m=re.search(r'"http.address":"127.0.0.1:(\d+)"',t)
            if m: s.port=int(m[1]); break
            if s.p.poll() is not None: break
            time.sleep(.1)
        if not s.port and wait: print('START FAILED',s.log()[-800:])
    def log(s): return open(s.logf.name).read()
    def call(s,email=None,phone=None,timeout='10S',t=30):
        c=http.client.HTTPConnection('127.0.0.1',s.port,timeout=t)
        try:
            c.request('POST','/identify',json.dumps({'email':email,'phoneNumber':phone}),{'grpc-timeout':timeout})
            r=c.getresponse(); b=r.read()
            return r.status, r.getheader('identity-outcome'), json.loads(b)
        except Exception as e: return 0,None,repr(e)
        finally: c.close()
    def get(s,path):
        c=http.client.HTTPConnection('127.0.0.1',s.port,timeout=10)
        try: c.request('GET',path); return c.getresponse().status
        except Exception as e: return repr(e)
    def rss(s): return int(re.search(r'VmRSS:\s+(\d+)',open(f'/proc/{s.p.pid}/status').read())[1])//1024
    def stop(s):
        s.p.terminate()
        try: s.p.wait(15)
        except: s.p.kill()
def show(r):
    st,o,b=r
    if st==200: c=b['contact']; return f"200 {o} {c['primaryContactId']} {c['emails'][:6]} {c['phoneNumbers'][:6]} {c['secondaryContactIds'][:6]}"
    return f"{st} {b.get('message') if isinstance(b,dict) else b} {[d.get('reason') or d.get('@type') for d in b.get('details',[])] if isinstance(b,dict) else ''}"
MY='/opt/identity-mysql/usr/bin/mysql'
def my(port,sql,db='identity',kind='mariadb'):
    r=subprocess.run(['mariadb','--no-defaults','-h127.0.0.1',f'-P{port}','-uapp','-papp',db,'--skip-ssl','-N','-e',sql],capture_output=True,text=True)
    if r.returncode: print('SQLERR',r.stderr[:300])
    return r.stdout.strip()
def pg(port,sql,db='identity'):
    r=subprocess.run(['psql',f'postgres://app:app@127.0.0.1:{port}/{db}','-At','-c',sql],capture_output=True,text=True)
    if r.returncode: print('SQLERR',r.stderr[:300])
    return r.stdout.strip()
def newdb(kind,name):
    if kind=='pg':
        subprocess.run(['psql','postgres://app:app@127.0.0.1:15432/postgres','-q','-c',f'DROP DATABASE IF EXISTS {name} WITH (FORCE)','-c',f'CREATE DATABASE {name}'],capture_output=True); return f'postgres://app:app@127.0.0.1:15432/{name}'
    port={'my':23307,'maria':13306}[kind]
    my(port,f'DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb4;',db='mysql'); return f'mysql://app:app@127.0.0.1:{port}/{name}'
