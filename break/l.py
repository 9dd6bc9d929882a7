from lib import *
# L: errors a failover/DDL can raise, during load; what reaches callers
from collections import Counter
def load(s,stop,out,new=True):
    i=0
    while not stop.is_set():
        i+=1; r=s.call(f'{threading.get_ident()}.{i//2}@x',f'{threading.get_ident()%100000}{i//3}',timeout='10S'); out.append(r)
def run(name,url,acts,secs=5,flags=()):
    s=Svc(url,*flags); stop=threading.Event(); out=[]; ts=[threading.Thread(target=load,args=(s,stop,out)) for _ in range(12)]
    [t.start() for t in ts]; time.sleep(1); acts(); time.sleep(2); stop.set(); [t.join() for t in ts]
    print(name,Counter((x[0],(x[2].get('details',[{}])[0].get('reason') if isinstance(x[2],dict) and x[0]!=200 else '')) for x in out), set(re.findall(r'"error.message":"([^"]+)"',s.log()))); s.stop()
def pgkill():
    for _ in range(20): pg(15432,"select count(pg_terminate_backend(pid)) from pg_stat_activity where datname='brk_l' and pid<>pg_backend_pid()",db='postgres'); time.sleep(.1)
run('pg terminate',newdb('pg','brk_l'),pgkill)
def pgcancel():
    for _ in range(30): pg(15432,"select count(pg_cancel_backend(pid)) from pg_stat_activity where datname='brk_l' and pid<>pg_backend_pid()",db='postgres'); time.sleep(.05)
run('pg cancel',newdb('pg','brk_l'),pgcancel)
def pgddl():
    for t in ('text','varchar(255)'):
        pg(15432,f'ALTER TABLE "Contact" ALTER COLUMN email TYPE {t}',db='brk_l'); time.sleep(.5)
run('pg ALTER TYPE under load (cached plan)',newdb('pg','brk_l'),pgddl)
def pgidle():
    pg(15432,"ALTER DATABASE brk_l SET idle_in_transaction_session_timeout='1ms'",db='postgres'); pg(15432,"select count(pg_terminate_backend(pid)) from pg_stat_activity where datname='brk_l'",db='postgres')
run('pg idle_in_transaction_session_timeout',newdb('pg','brk_l'),pgidle)
def mykill():
    for _ in range(20):
        for i in my(23307,"select id from information_schema.processlist where db='brk_l'",db='mysql').split(): my(23307,f'KILL {i}',db='mysql')
run('my KILL',newdb('my','brk_l'),mykill)
def myddl():
    my(23307,'ALTER TABLE Contact ADD COLUMN note INT',db='brk_l'); time.sleep(.3); my(23307,'ALTER TABLE Contact MODIFY email VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin',db='brk_l'); my(23307,'FLUSH TABLES',db='brk_l'); my(23307,'ANALYZE TABLE Contact',db='brk_l')
run('my DDL',newdb('my','brk_l'),myddl)
def myps(): my(23307,'SET GLOBAL max_prepared_stmt_count=5',db='mysql')
run('my max_prepared_stmt_count',newdb('my','brk_l'),myps); my(23307,'SET GLOBAL max_prepared_stmt_count=16382',db='mysql')
def myro(): my(23307,'SET GLOBAL transaction_read_only=ON',db='mysql'); mykill(); my(23307,'SET GLOBAL transaction_read_only=OFF',db='mysql')
run('my transaction_read_only',newdb('my','brk_l'),myro)
run('maria kill',newdb('maria','brk_l'),lambda:[my(13306,f'KILL {i}',db='mysql') for i in my(13306,"select id from information_schema.processlist where db='brk_l'",db='mysql').split()])
